"""What a program printed: two streams in the order they came, within a limit and without colour."""

import re
from collections.abc import Sequence
from typing import Final

from flatrun_core.errors import Invalid

OUTPUT_LIMIT: Final = 1 << 20
_LONGEST_LINE: Final = 1 << 16
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def plain(text: str) -> str:
    """The text without terminal colours, cursor movements and titles."""
    return _ANSI.sub("", text)


def check_arguments(args: Sequence[str]) -> None:
    """Refuse with ``Invalid`` what can be no argument list: an empty one, or one with a NUL."""
    if not args or any("\0" in text for text in args):
        raise Invalid("A program needs a name, and its arguments no NUL character")


class Bounded:
    """Keeps the beginning and the end of what is added, within ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._cut = 0

    def add(self, data: bytes | bytearray) -> None:
        """Add at the end."""
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._half
        if excess > 0:
            del self._tail[:excess]
            self._cut += excess

    def text(self) -> str:
        """All of it, with a line that says how much was left out in the middle."""
        gap = b"\n[... %d bytes left out ...]\n" % self._cut if self._cut else b""
        return plain((self._head + gap + self._tail).decode("utf-8", "replace"))


class ProgramOutput:
    """The streams ``stdout`` and ``stderr`` of one program, each at most ``OUTPUT_LIMIT`` bytes."""

    def __init__(self) -> None:
        self._stdout = Bounded(OUTPUT_LIMIT)
        self._both = Bounded(OUTPUT_LIMIT)
        self._lines = {"stdout": bytearray(), "stderr": bytearray()}

    def add(self, stream: str, data: bytes) -> None:
        """What came on a stream."""
        if stream == "stdout":
            self._stdout.add(data)
        line = self._lines[stream]
        line += data
        # Whole lines only, lest the two streams meet in the middle of one.
        self._pass_on(line, len(line) if len(line) > _LONGEST_LINE else line.rfind(b"\n") + 1)

    def end(self, stream: str) -> None:
        """Nothing more comes on a stream; again is no error."""
        line = self._lines[stream]
        self._pass_on(line, len(line))

    def stdout(self) -> str:
        """The first stream alone."""
        return self._stdout.text()

    def both(self) -> str:
        """Both streams; lines without an end are in it once their stream has ended."""
        return self._both.text()

    def _pass_on(self, line: bytearray, count: int) -> None:
        self._both.add(line[:count])
        del line[:count]
