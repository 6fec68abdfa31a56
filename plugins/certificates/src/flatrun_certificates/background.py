"""Renewal by itself: a timer that looks whether a pass is due, and a job that is the pass."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from flatrun_certificates.renewal import RENEWALS
from flatrun_certificates.settings import CertbotSettings
from flatrun_certificates.state import STATES
from flatrun_core import Conflict, PluginContext, ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.scheduling import JOBS, JobContext, JobKind, Timer

JOB: Final = "certificates.renew"
FIRST_AFTER: Final = timedelta(seconds=30)
TICK: Final = timedelta(seconds=30)


class Background:
    """Decides when the next pass is; the settings count as they are at each tick."""

    def __init__(self, ctx: PluginContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._ctx = ctx
        self._clock = clock
        self._lock = threading.Lock()
        self._last: float | None = None
        self._retried: frozenset[tuple[str, datetime]] = frozenset()

    def tick(self) -> bool:
        """Submit a pass if one is due, also for a failure whose wait is over; whether one was."""
        with self._lock:
            if not self._ctx.settings(CertbotSettings).enabled:
                # Switched on again, the first look is at once.
                self._last = None
                return False
            ripe = self._ripe()
            if not self._is_time() and ripe <= self._retried:
                return False
            try:
                self._ctx.services.get(JOBS).submit(JOB, {}, exclusive=JOB, actor=SYSTEM.actor)
            except Conflict:
                self._ctx.log.debug("the earlier pass over the certificates has not ended yet")
                return False
            self._last, self._retried = self._clock(), ripe
            return True

    def _is_time(self) -> bool:
        interval = self._ctx.services.get(RENEWALS).interval().total_seconds()
        return self._last is None or self._clock() - self._last >= interval

    def _ripe(self) -> frozenset[tuple[str, datetime]]:
        """Failures whose wait is over; each brings one pass, as nobody may want them any more."""
        moment, states = now(), self._ctx.services.get(STATES).all().values()
        return frozenset(
            (state.name, state.next_attempt_at)
            for state in states
            if state.next_attempt_at is not None and not state.waiting(moment)
        )


BACKGROUND: Final[ServiceKey[Background]] = ServiceKey("certificates.background", "certificates")


def timers(ctx: PluginContext) -> Sequence[Timer]:
    """One, which is short: the pass itself is a job."""
    return [Timer(JOB, TICK, lambda: ctx.services.get(BACKGROUND).tick(), FIRST_AFTER)]


def jobs(ctx: PluginContext) -> Sequence[JobKind]:
    """The pass."""

    def run(job: JobContext) -> Mapping[str, Any]:
        return ctx.services.get(RENEWALS).pass_over(job.cancelled)

    return [JobKind(JOB, run)]
