"""The last lines of one container, kept once for everybody who follows it."""

import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

from flatrun_core import ServerEvent
from flatrun_core.ports.docker import Container, LogLine
from flatrun_deployments.log_text import clean, moment

# What an entry costs in memory beside its bytes.
_ENTRY_COST: Final = 160


@dataclass(frozen=True, slots=True)
class Entry:
    """One event ready to be sent; ``moment`` in nanoseconds since 1970.

    ``stream`` is stdout or stderr for a line, and empty for a note about the log itself.
    """

    moment: int
    stream: str
    wire: bytes


def entry(container: Container, line: LogLine) -> Entry:
    """A line of a container as the event every follower of it gets."""
    data = {
        "service": container.service,
        "container": container.name,
        "timestamp": line.timestamp,
        "stream": line.stream,
        "line": clean(line.line),
    }
    return Entry(moment(line), line.stream, ServerEvent("log", data).encode())


def skipped(lines: int | None) -> bytes:
    """The event that says that lines were left out; None where nobody can tell how many."""
    return ServerEvent("skipped", {"lines": lines}).encode()


class Tape:
    """The newest entries of one container, within a number and a size; safe for many threads.

    A reader keeps a position and asks for what came after it. One that is too slow finds the oldest
    entries gone and is told how many, so no reader costs memory of its own. ``whole`` says that the
    first entry is the first of the container's log.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._begin = 0
        self.whole = False

    @property
    def end(self) -> int:
        """The position after the newest entry."""
        with self._lock:
            return self._begin + len(self._entries)

    @property
    def complete(self) -> bool:
        """Whether the container's log from its beginning is here."""
        return self.whole and self._begin == 0

    def append(self, entry: Entry) -> None:
        """Add the newest entry; the oldest ones go when it does not fit."""
        with self._lock:
            self._entries.append(entry)
            self._bytes += len(entry.wire) + _ENTRY_COST
            while len(self._entries) > self._max_entries or (
                self._bytes > self._max_bytes and len(self._entries) > 1
            ):
                self._bytes -= len(self._entries.popleft().wire) + _ENTRY_COST
                self._begin += 1

    def read(self, position: int) -> tuple[list[Entry], int, int]:
        """The entries from ``position`` on, the position after them, and how many before them are gone."""
        with self._lock:
            end = self._begin + len(self._entries)
            missed = max(0, self._begin - position)
            entries = self._newest(end - position - missed)
        return entries, end, missed

    def last(self, count: int, since: int) -> tuple[list[Entry], int] | None:
        """The last ``count`` entries not older than ``since``, and the position after them.

        None when not all that was asked for is here.
        """
        with self._lock:
            held = len(self._entries)
            reaches_back = held > 0 and self._entries[0].moment < since
            if count > held and not reaches_back and not self.complete:
                return None
            entries = self._newest(min(count, held))
            return [entry for entry in entries if entry.moment >= since], self._begin + held

    def _newest(self, count: int) -> list[Entry]:
        entries = list(islice(reversed(self._entries), count))
        entries.reverse()
        return entries
