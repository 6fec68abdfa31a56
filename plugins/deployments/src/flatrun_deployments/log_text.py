"""Text of container logs: times in nanoseconds, ANSI sequences, prefixes, ``since`` of a caller."""

import functools
import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from flatrun_core import FlatrunError, fields
from flatrun_core.ports.docker import Container, LogLine

# The most lines a caller may ask for.
MAX_TAIL: Final = 10_000
SECOND: Final = 1_000_000_000
_MICROSECOND: Final = timedelta(microseconds=1)
_LATEST: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * SECOND

_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
# Control sequences (colours, cursor); strings ended by BEL or ST (titles, links); other escapes,
# which also takes the beginning of a sequence that was cut off.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]?")


def nanoseconds(timestamp: str) -> int:
    """An RFC 3339 time in nanoseconds since 1970; raises ``ValueError``."""
    match = _TIMESTAMP.fullmatch(timestamp)
    if match is None:
        raise ValueError("not an RFC 3339 time")
    whole, fraction, zone = match.groups()
    return _seconds(whole, zone) * SECOND + int((fraction or "0").ljust(9, "0"))


def timestamp(moment: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC, always with nine digits; the reverse of ``nanoseconds``."""
    seconds, rest = divmod(moment, SECOND)
    whole = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
    return f"{whole}.{rest:09d}Z"


def since_moment(text: str, now: datetime) -> int:
    """The moment a caller's ``since`` means, in nanoseconds since 1970; raises ``ValueError``.

    An RFC 3339 time, or a Go duration counted back from ``now``. What lies before 1970 is 1970.
    """
    if _TIMESTAMP.fullmatch(text):
        found = nanoseconds(text)
    else:
        found = (int(now.timestamp() * 1_000_000) - fields.parse_duration(text) // _MICROSECOND) * 1000
    return min(max(0, found), _LATEST)


def clean(line: str) -> str:
    """A line without ANSI sequences and without the carriage return a terminal ends it with."""
    return (_ANSI.sub("", line) if "\x1b" in line else line).rstrip("\r")


def prefix(container: Container) -> str:
    """What ``docker compose logs`` begins a line with: ``web-1  | ``."""
    name = f"{container.service}-{container.number}" if container.service else container.name
    return f"{name}  | "


def moment(line: LogLine) -> int:
    """When a line was written; one whose time cannot be read counts as the oldest."""
    try:
        return nanoseconds(line.timestamp)
    except ValueError:
        return 0


def last_lines(
    logs: Iterable[tuple[Container, Sequence[LogLine]]], count: int
) -> list[tuple[Container, LogLine]]:
    """The last ``count`` lines of several containers, by time; the order within a container stays."""
    timed: list[tuple[int, Container, LogLine]] = []
    for container, lines in logs:
        newest = 0
        for line in lines:
            newest = max(newest, moment(line))
            timed.append((newest, container, line))
    timed.sort(key=lambda item: item[0])
    return [(container, line) for _, container, line in timed[max(0, len(timed) - count) :]]


def unreadable(error: FlatrunError) -> LogLine:
    """A line in the place of a log that cannot be read, such as one whose logging driver keeps none."""
    return LogLine(timestamp(time.time_ns()), "stderr", f"[{error.message}]")


def render(lines: Iterable[tuple[Container, LogLine]], *, timestamps: bool, prefixed: bool) -> str:
    """Lines as one text, each ended by a newline."""
    texts = []
    for container, line in lines:
        head = prefix(container) if prefixed else ""
        stamp = f"{line.timestamp} " if timestamps and line.timestamp else ""
        texts.append(f"{head}{stamp}{clean(line.line)}\n")
    return "".join(texts)


@functools.lru_cache(maxsize=512)
def _seconds(whole: str, zone: str) -> int:
    offset = "+00:00" if zone in "Zz" else zone
    return int(datetime.fromisoformat(f"{whole.upper()}{offset}").timestamp())
