"""Refusals of requests that nobody looked at: the first of a kind is written, the rest are counted.

A chain cannot be changed afterwards, so the first one is an event at once, and when its minute is over
one more event tells how many followed. Only that number is lost when the process is killed.
"""

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from flatrun_audit.chain import Draft
from flatrun_core.ports.auth import Actor

LENGTH: Final = 60.0  # seconds
NOBODY: Final = Actor("anonymous")
MAX_WINDOWS: Final = 200
"""Kinds counted apart within a minute; what comes beyond is counted together."""

Key = tuple[str, str, str, int]
_OTHERS: Final[Key] = ("", "", "", 0)


@dataclass(slots=True)
class _Window:
    draft: Draft
    ends: float
    count: int = 0
    last: int = 0


class RefusalWindows:
    """Counts by address, method, route and status; an IPv6 address counts as its network of 64 bits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[Key, _Window] = {}
        self._due = float("inf")

    def first(self, draft: Draft, route: str) -> bool:
        """Whether this refusal is to be written; False when it was counted instead."""
        key = _key(draft, route)
        with self._lock:
            found = self._windows.get(key)
            if found is None and len(self._windows) >= MAX_WINDOWS:
                key = _OTHERS
                found = self._windows.get(key) or self._open(key, _of_many(draft))
            if found is None:
                self._open(key, draft)
                return True
            found.count += 1
            found.last = draft.timestamp
            return False

    def _open(self, key: Key, draft: Draft) -> _Window:
        window = _Window(draft, self._clock() + LENGTH)
        self._windows[key] = window
        self._due = min(self._due, window.ends)
        return window

    def forget(self, draft: Draft, route: str) -> None:
        """The first one could not be written: let the next one try."""
        with self._lock:
            self._windows.pop(_key(draft, route), None)

    @property
    def due(self) -> bool:
        """Whether a minute is over."""
        return self._clock() >= self._due

    def closed(self, *, everything: bool = False) -> list[Draft]:
        """The events of the minutes that are over, or of all; each is given once."""
        now = self._clock()
        with self._lock:
            over = [key for key, window in self._windows.items() if everything or now >= window.ends]
            windows = [self._windows.pop(key) for key in over]
            self._due = min((window.ends for window in self._windows.values()), default=float("inf"))
        return [_summary(window) for window in windows if window.count]


def _key(draft: Draft, route: str) -> Key:
    return (_network(draft.client_ip), draft.method, route, draft.response_status)


def _summary(window: _Window) -> Draft:
    """The first one again, without what was its own."""
    return replace(
        window.draft,
        timestamp=window.last,
        actor=NOBODY,
        request_id="",
        request_body="",
        response_time_ms=0,
        user_agent="",
        metadata={
            "count": window.count,
            "seconds": (window.last - window.draft.timestamp) // 1_000_000,
        },
    )


def _of_many(draft: Draft) -> Draft:
    return replace(
        draft,
        action="audit.refusals",
        resource_type="audit",
        resource_id="",
        method="",
        path="",
        client_ip="",
    )


def _network(address: str) -> str:
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address
