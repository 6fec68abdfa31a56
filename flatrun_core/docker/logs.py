"""A container's log: the Engine's frames in, lines out."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, Protocol

from flatrun_core.errors import Invalid
from flatrun_core.ports.docker import LogLine

MAX_LINES: Final = 10_000
_MAX_BYTES: Final = 16 << 20
_MAX_LINE: Final = 256 << 10
_HEADER: Final = 8
_STREAMS: Final = {1: "stdout", 2: "stderr"}
# The Engine cuts longer lines into entries of this size, each with the time stamp of the first.
_ENTRY: Final = 16 << 10
_STAMP: Final = len("2024-01-01T00:00:00.123456789Z ")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-]\d\d:\d\d))", re.ASCII)


class _Chunks(Protocol):
    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


def newest(tail: int | None) -> int:
    """How many lines are asked for: at most ``MAX_LINES``, also when nothing was said."""
    return MAX_LINES if tail is None else max(0, min(tail, MAX_LINES))


def since_parameter(name: str, time: str | None, *, after: bool = False) -> dict[str, str]:
    """An RFC 3339 time as the Engine's parameter, to the nanosecond; ``after`` leaves that one out."""
    if time is None:
        return {}
    match = _TIME.fullmatch(time)
    if match is None:
        raise Invalid(f"'{name}' must be a time like 2024-01-01T00:00:00Z")
    try:
        moment = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[4] or '+00:00'}")
        seconds = int(moment.astimezone(UTC).timestamp())
    except (ValueError, OverflowError) as exc:
        raise Invalid(f"'{name}' must be a time like 2024-01-01T00:00:00Z") from exc
    total = seconds * 10**9 + int((match[3] or "").ljust(9, "0")) + int(after)
    if total < 0:
        return {}
    return {name: f"{total // 10**9}.{total % 10**9:09d}"}


class LogParser:
    """Puts the Engine's bytes together to lines: frames of two streams, or a terminal's plain text."""

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty
        self._buffer = bytearray()
        self._open: dict[str, tuple[bytes, bytearray]] = {}

    def feed(self, chunk: bytes) -> Iterator[LogLine]:
        """The lines that ``chunk`` completes."""
        self._buffer += chunk
        yield from self._text() if self._tty else self._frames()

    def finish(self) -> Iterator[LogLine]:
        """What is left when the log ends without a line's end."""
        if self._tty and self._buffer:
            yield self._whole("stdout", bytes(self._buffer))
        for stream, (stamp, text) in sorted(self._open.items()):
            yield _line(stream, stamp, bytes(text))
        self._buffer.clear()
        self._open.clear()

    def collect(self, chunks: _Chunks, tail: int) -> list[LogLine]:
        """All of a log that ends: its last ``tail`` lines in the order of their times."""
        lines: deque[LogLine] = deque()
        size = 0
        for line in self._all(chunks):
            lines.append(line)
            size += len(line.line)
            while len(lines) > tail or size > _MAX_BYTES:
                size -= len(lines.popleft().line)
        return sorted(lines, key=lambda line: line.timestamp)

    def _all(self, chunks: Iterable[bytes]) -> Iterator[LogLine]:
        for chunk in chunks:
            yield from self.feed(chunk)
        yield from self.finish()

    def _frames(self) -> Iterator[LogLine]:
        at = 0
        while len(self._buffer) - at >= _HEADER:
            end = at + _HEADER + int.from_bytes(self._buffer[at + 4 : at + _HEADER], "big")
            if len(self._buffer) < end:
                break
            stream = _STREAMS.get(self._buffer[at])
            if stream is not None:  # the Engine's own words in between are no line of the container
                yield from self._entry(stream, bytes(self._buffer[at + _HEADER : end]))
            at = end
        del self._buffer[:at]

    def _entry(self, stream: str, entry: bytes) -> Iterator[LogLine]:
        stamp, _, text = entry.partition(b" ")
        begun, line = self._open.pop(stream, (stamp, bytearray()))
        if begun != stamp:
            # Another line's time: the driver `local` drops the end of a line that it had to cut.
            yield _line(stream, begun, bytes(line))
            line = bytearray()
        line += text
        if text.endswith(b"\n") or len(line) >= _MAX_LINE:
            yield _line(stream, stamp, bytes(line))
        else:
            self._open[stream] = (stamp, line)

    def _text(self) -> Iterator[LogLine]:
        at = 0
        while end := self._buffer.find(b"\n", at) + 1:
            yield self._whole("stdout", bytes(self._buffer[at:end]))
            at = end
        del self._buffer[:at]
        if len(self._buffer) >= _MAX_LINE:
            stamp = bytes(self._buffer[:_STAMP])
            yield self._whole("stdout", bytes(self._buffer))
            self._buffer[:] = stamp

    def _whole(self, stream: str, line: bytes) -> LogLine:
        stamp, _, text = line.partition(b" ")
        # Here entries have no frames; but nothing else has the very nanosecond of their first one.
        return _line(stream, stamp, text[:_ENTRY] + text[_ENTRY:].replace(stamp + b" ", b""))


def _line(stream: str, stamp: bytes, text: bytes) -> LogLine:
    shown = text.removesuffix(b"\n").removesuffix(b"\r")
    return LogLine(stamp.decode("ascii", "replace"), stream, shown.decode("utf-8", "replace"))


class ContainerLog:
    """A log that is followed; see ``LogStream`` in the port."""

    def __init__(self, chunks: _Chunks, parser: LogParser) -> None:
        self._chunks = chunks
        self._parser = parser

    def __iter__(self) -> Iterator[LogLine]:
        """Lines as they come, until the container stops or ``close`` is called."""
        for chunk in self._chunks:
            yield from self._parser.feed(chunk)
        yield from self._parser.finish()

    def close(self) -> None:
        """End it at once, from any thread."""
        self._chunks.close()
