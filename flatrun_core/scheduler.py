"""The one thread for periodic work, in one process only."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import schedule

from flatrun_core.locks import FileLock
from flatrun_core.ports.scheduling import Timer

log = logging.getLogger(__name__)

RETRY = 2.0  # seconds between looks whether the process that has the lock is gone


class TimerThread:
    """Runs timers one after the other while this process holds the lock file.

    ``on_elected`` is called once, in the thread, when the lock was got and before the first timer:
    the place for what one process does for all, such as recovering jobs. ``session`` is entered
    around each run. A timer that raises is logged and runs again when it is due.
    """

    def __init__(
        self,
        timers: Sequence[Timer],
        lock_file: Path,
        *,
        on_elected: Callable[[], None] = lambda: None,
        session: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._timers = timers
        self._lock = FileLock(lock_file)
        self._on_elected = on_elected
        self._session = session
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; once."""
        self._thread = threading.Thread(target=self._main, name="flatrun-timers", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10) -> bool:
        """Stop after the timer that is running; whether it ended within ``timeout`` seconds."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _main(self) -> None:
        try:
            if self._elected():
                self._guarded("on_elected", self._on_elected)
                self._run()
        finally:
            self._lock.release()

    def _elected(self) -> bool:
        said = False
        while not self._stopping.is_set():
            try:
                if self._lock.acquire():
                    return True
                if not said:
                    log.info("another process runs the periodic work; this one takes over when it ends")
            except OSError as exc:
                if not said:
                    log.error("no periodic work: the lock file %s cannot be used: %s", self._lock.path, exc)
            said = True
            self._stopping.wait(RETRY)
        return False

    def _run(self) -> None:
        scheduler = schedule.Scheduler()
        for timer in self._timers:
            # Fractions of a second work too, whatever the annotation of the library says.
            every: Any = timer.every.total_seconds()
            job = scheduler.every(every).seconds.do(self._guarded, timer.name, timer.run)
            if timer.first_after is not None:
                job.next_run = datetime.now() + timer.first_after  # noqa: DTZ005 - as the library reckons
        while not self._stopping.is_set():
            scheduler.run_pending()
            idle = scheduler.idle_seconds
            # At most a second, so that a change of the clock is noticed.
            self._stopping.wait(1 if idle is None else max(0.01, min(1, idle)))

    def _guarded(self, name: str, run: Callable[[], None]) -> None:
        if self._stopping.is_set():
            return
        try:
            with self._session():
                run()
        except Exception:
            log.exception("the timer '%s' failed", name)
