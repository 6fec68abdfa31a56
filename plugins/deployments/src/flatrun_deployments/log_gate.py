"""Where the lines that were fetched end, so that none comes twice and none is left out."""

from collections import Counter
from collections.abc import Iterable

from flatrun_core.ports.docker import Container, LogLine
from flatrun_deployments.log_tape import Entry, entry
from flatrun_deployments.log_text import moment


class Gate:
    """Lets through what a container wrote after the lines that were fetched, each line once.

    The two streams of a container are looked at apart, because their lines may cross. Each is
    compared by time until its first newer line has come; from there on everything passes, so that
    a clock set back loses nothing. ``since`` is the time, in nanoseconds, that fetching began at.
    """

    def __init__(self, container: Container, fetched: Iterable[LogLine], since: int = 0) -> None:
        self._begin = since
        self._newest: dict[str, int] = {}
        self._open: set[str] = set()
        last: dict[str, list[LogLine]] = {}
        oldest: int | None = None
        for line in fetched:
            written = moment(line)
            oldest = written if oldest is None else min(oldest, written)
            newest = self._newest.get(line.stream, -1)
            if written > newest:
                self._newest[line.stream], last[line.stream] = written, [line]
            elif written == newest:
                last[line.stream].append(line)
        if oldest is not None:
            self._begin = max(since, oldest)
        self._last = Counter(entry(container, line).wire for lines in last.values() for line in lines)

    def passes(self, line: Entry) -> bool:
        """Whether the line is new; notes about the log always are."""
        if not line.stream or line.stream in self._open:
            return True
        newest = self._newest.get(line.stream)
        if newest is None:
            return line.moment >= self._begin
        if line.moment > newest:
            self._open.add(line.stream)
            return True
        if line.moment < newest:
            return False
        # Two lines may have one time; those that were fetched are left out as often as they were.
        self._last[line.wire] -= 1
        return self._last[line.wire] < 0
