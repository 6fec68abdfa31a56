"""Durations as Go writes them, the form of every duration in the settings and the API."""

import re
from datetime import timedelta
from decimal import Decimal

_MICROSECONDS = {
    "ns": Decimal("0.001"),
    "us": Decimal(1),
    "µs": Decimal(1),
    "μs": Decimal(1),
    "ms": Decimal(1_000),
    "s": Decimal(1_000_000),
    "m": Decimal(60_000_000),
    "h": Decimal(3_600_000_000),
    "d": Decimal(86_400_000_000),
    "w": Decimal(604_800_000_000),
}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w)")
_LENGTH = 64
_MILLISECOND, _SECOND = 1_000, 1_000_000  # in microseconds
# Go keeps a duration as nanoseconds in 64 bits; what it could not read is refused here as well.
_LONGEST = timedelta(microseconds=(2**63 - 1) // 1000)


def parse_duration(text: str) -> timedelta:
    """A Go duration such as ``1h30m``, with ``d`` and ``w`` too; finer than 1 µs is cut.

    ``0`` needs no unit. Raises ``ValueError`` for anything else, signs included, and for more than
    about 292 years.
    """
    if text == "0":
        return timedelta(0)
    end, total = 0, Decimal(0)
    while len(text) <= _LENGTH and (part := _PART.match(text, end)):
        end = part.end()
        total += Decimal(part[1]) * _MICROSECONDS[part[2]]
    if not end or end != len(text):
        raise ValueError("not a duration")
    if total > _LONGEST // timedelta(microseconds=1):
        raise ValueError("too long a duration")
    return timedelta(microseconds=int(total))


def format_duration(value: timedelta) -> str:
    """The shortest text Go reads as the same duration: ``1h30m``, ``500ms``, ``0s``."""
    rest = value // timedelta(microseconds=1)
    if rest < 0:
        return "-" + format_duration(-value)
    if 0 < rest < _MILLISECOND:
        return f"{rest}µs"
    if 0 < rest < _SECOND:
        return f"{_decimal(rest, _MILLISECOND)}ms"
    hours, rest = divmod(rest, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    text = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    return text + f"{_decimal(rest, _SECOND)}s" if rest or not text else text


def _decimal(amount: int, unit: int) -> str:
    whole, part = divmod(amount, unit)
    return f"{whole}.{part:0{len(str(unit)) - 1}d}".rstrip("0") if part else str(whole)
