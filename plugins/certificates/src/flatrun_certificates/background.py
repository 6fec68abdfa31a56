"""Renewal by itself: a timer that looks whether a pass is due, and a job that is the pass."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from flatrun_certificates.renewal import RENEWALS
from flatrun_certificates.settings import CertbotSettings
from flatrun_core import Conflict, PluginContext, ServiceKey
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

    def tick(self) -> bool:
        """Submit a pass if one is due; whether one was."""
        with self._lock:
            if not self._ctx.settings(CertbotSettings).enabled:
                # Switched on again, the first look is at once.
                self._last = None
                return False
            interval = self._ctx.services.get(RENEWALS).interval().total_seconds()
            if self._last is not None and self._clock() - self._last < interval:
                return False
            self._last = self._clock()
        try:
            self._ctx.services.get(JOBS).submit(JOB, {}, exclusive=JOB, actor=SYSTEM.actor)
        except Conflict:
            self._ctx.log.debug("the earlier pass over the certificates has not ended yet")
            return False
        return True


BACKGROUND: Final[ServiceKey[Background]] = ServiceKey("certificates.background", "certificates")


def timers(ctx: PluginContext) -> Sequence[Timer]:
    """One, which is short: the pass itself is a job."""
    return [Timer(JOB, TICK, lambda: ctx.services.get(BACKGROUND).tick(), FIRST_AFTER)]


def jobs(ctx: PluginContext) -> Sequence[JobKind]:
    """The pass."""

    def run(_: JobContext) -> Mapping[str, Any]:
        return ctx.services.get(RENEWALS).pass_over()

    return [JobKind(JOB, run)]
