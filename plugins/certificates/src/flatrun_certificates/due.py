"""When a certificate should be renewed."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flatrun_core.ports.certificates import Certificate

# Clocks of machines and authorities differ by so much without anybody's fault.
_SKEW: Final = timedelta(hours=1)
# Of many certificates had at one moment not all are renewed at one moment: they are spread over
# this part of the lifetime, which begins where two thirds of it are over.
_SPREAD: Final = 0.03
_MOMENTS: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Plan:
    """When a certificate is to be renewed, and whether that is now; ``clock`` says what is odd."""

    at: datetime
    due: bool
    clock: str = ""


def plan(
    certificate: Certificate, moment: datetime, *, threshold_days: int = 0, window: datetime | None = None
) -> Plan:
    """The plan at a moment.

    ``threshold_days`` above 0 comes first, but never before half of the lifetime is over: a
    certificate of six days must not be renewed at every look. ``window`` is the moment in the
    authority's window. A certificate that is not valid yet is not due: the clock is wrong, and
    another one would be as early.
    """
    at = renewal_at(certificate, threshold_days, window)
    if moment + _SKEW < certificate.not_before:
        text = "It is not valid yet by the clock of this host, which may be wrong."
        return Plan(at, due=False, clock=text)
    return Plan(at, due=moment >= at)


def renewal_at(certificate: Certificate, threshold_days: int, window: datetime | None) -> datetime:
    """The moment from which a certificate is due."""
    lifetime = certificate.not_after - certificate.not_before
    if threshold_days > 0:
        half = certificate.not_before + lifetime / 2
        try:
            return max(half, certificate.not_after - timedelta(days=threshold_days))
        except OverflowError:
            return half
    if window is not None:
        return window
    return certificate.not_before + lifetime * (2 / 3 + _SPREAD * _share(certificate.fingerprint))


def every(interval: timedelta, shortest: timedelta | None) -> timedelta:
    """How often to look: as set, but often enough for the shortest lifetime there is.

    A twelfth of what is left of it when it becomes due; not more often than once a minute.
    """
    if shortest is None:
        return interval
    return max(min(interval, shortest / 36), timedelta(minutes=1))


def status(certificate: Certificate, moment: datetime, due: bool) -> str:
    """expired, expiring or valid."""
    if moment > certificate.not_after:
        return "expired"
    return "expiring" if due else "valid"


def days_left(not_after: datetime, moment: datetime) -> int:
    """Whole days, rounded down; negative when it is over."""
    return (not_after - moment) // timedelta(days=1)


def _share(fingerprint: str) -> float:
    digest = hashlib.sha256(fingerprint.encode()).digest()
    return int.from_bytes(digest[:4], "big") / _MOMENTS
