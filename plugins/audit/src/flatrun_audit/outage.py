"""What is remembered of events that could not be written, until one can be."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from flatrun_audit.canonical import microseconds
from flatrun_audit.chain import Draft
from flatrun_core import Unavailable
from flatrun_core.db import now
from flatrun_core.ports.auth import SYSTEM

RETRY: Final = 1.0  # seconds between two attempts to write while nothing can be written
RETRY_AFTER: Final = {"Retry-After": "5"}


class Outage:
    """Whether events can be written just now; safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._lost = 0
        self._next = 0.0

    @property
    def lasts(self) -> bool:
        """Whether the last attempt to write failed."""
        return self._since is not None

    def failed(self, *, lost: int) -> bool:
        """An attempt to write failed, and so many events are lost by it; whether the outage began so."""
        with self._lock:
            began = self._since is None
            if began:
                self._since = self._clock()
            self._lost += lost
            self._next = self._clock() + RETRY
        return began

    def lose(self) -> bool:
        """Count an event as lost without an attempt; False when there is no outage."""
        with self._lock:
            if self._since is None:
                return False
            self._lost += 1
            return True

    def admit(self, attempt: Callable[[], None]) -> None:
        """Let a change go ahead; during an outage only after ``attempt`` has written something.

        One thread tries, at most once a second; all others are refused without waiting for it.
        Raises 503 ``AUDIT_UNAVAILABLE``.
        """
        if self._since is None:
            return
        with self._lock:
            mine = self._clock() >= self._next
            if mine:
                self._next = self._clock() + RETRY
        if mine:
            with suppress(Exception):  # it logged why, and the outage goes on
                attempt()
        if self._since is not None:
            raise unavailable()

    def take(self) -> tuple[Draft, int] | None:
        """The event that tells of the outage, for whoever writes next, and how many it counts."""
        with self._lock:
            if self._since is None:
                return None
            seconds, lost = int(self._clock() - self._since), self._lost
        facts = {"lost": lost, "seconds": seconds}
        return Draft(microseconds(now()), SYSTEM.actor, "audit.resume", "audit", metadata=facts), lost

    def over(self, told: int) -> None:
        """Something was written, and with it how many were lost."""
        with self._lock:
            self._lost -= told
            if self._lost <= 0:
                self._since, self._lost = None, 0


def unavailable() -> Unavailable:
    """The refusal of a change that could not be recorded."""
    return Unavailable(
        "The audit cannot be written, so nothing may be changed until it can be",
        code="AUDIT_UNAVAILABLE",
        headers=RETRY_AFTER,
    )
