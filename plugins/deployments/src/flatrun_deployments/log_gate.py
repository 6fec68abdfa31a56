"""Where the lines that were fetched end, so that none comes twice and none is left out."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from flatrun_deployments.log_tape import Entry
from flatrun_deployments.log_text import SECOND

# Lines of the two streams are no further out of their times' order than this.
_CROSSING: Final = 2 * SECOND


class Gate:
    """Lets through what a container wrote after the lines that were fetched, each line once.

    The two streams of a container are looked at apart, because their lines may cross. Each is
    compared by time until its first newer line has come; from there on everything passes, so that
    a clock set back loses nothing. ``since`` is the time, in nanoseconds, that fetching began at.
    """

    def __init__(self, fetched: Iterable[Entry], since: int = 0) -> None:
        self._begin = since
        self._newest: dict[str, int] = {}
        self._open: set[str] = set()
        last: dict[str, list[bytes]] = {}
        oldest: int | None = None
        for line in fetched:
            oldest = line.moment if oldest is None else min(oldest, line.moment)
            newest = self._newest.get(line.stream, -1)
            if line.moment > newest:
                self._newest[line.stream], last[line.stream] = line.moment, [line.wire]
            elif line.moment == newest:
                last[line.stream].append(line.wire)
        if oldest is not None:
            self._begin = max(since, oldest)
        self._last = Counter(wire for wires in last.values() for wire in wires)

    def over(self, moment: int) -> bool:
        """Whether everything that comes after a line of this time passes."""
        return moment > max(self._newest.values(), default=self._begin) + _CROSSING

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
