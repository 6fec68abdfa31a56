"""Looks after nginx between applies: one that ends, and one that starts with other files than it should."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from flatrun_core import FlatrunError, PluginContext, ServiceKey
from flatrun_core.ports.docker import ENGINE, EngineEvent
from flatrun_core.ports.proxy import PROXY
from flatrun_core.ports.scheduling import LOCKS
from flatrun_nginx.backend import BACKEND, LOOPS
from flatrun_nginx.settings import NginxSettings

log = logging.getLogger(__name__)

STOP_WITHIN: Final = 5.0
WAIT_FOR_PROXY: Final = 120.0
# So long, in seconds, the Engine is given to say what becomes of a container that ended.
SETTLES: Final = 0.5
BETWEEN: Final = 5.0
LONGEST: Final = 60.0
_ACTIONS: Final = frozenset({"die", "start", "unpause"})
_ALL_WELL: Final = ""
_UNEXPECTED: Final = "it failed unexpectedly"


class Caretaker:
    """One thread, woken by events of nginx's container; ``settles`` and ``between`` are in seconds.

    What does not help is tried at longer and longer distances, up to ``LONGEST``.
    """

    def __init__(self, ctx: PluginContext, settles: float = SETTLES, between: float = BETWEEN) -> None:
        self._ctx = ctx
        self._settles = settles
        self._between = between
        self._distance = between
        self._earliest = 0.0
        self._told = _ALL_WELL
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._unsubscribe = self._ctx.services.get(ENGINE).subscribe(self.hear)
        self._thread = threading.Thread(target=self._run, name="nginx-caretaker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more, and wait a moment for what is under way."""
        self._unsubscribe()
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN)

    def hear(self, event: EngineEvent) -> None:
        """Wake up for what may be about nginx; on the thread of the Engine's watcher."""
        if event.action in _ACTIONS:
            settings = self._ctx.settings(NginxSettings)
            ours = settings.enabled and event.attributes.get("name") == settings.container_name
        else:
            ours = event.action == "connected"
        if ours:
            self._wake.set()

    def look(self) -> None:
        """See to nginx where it needs it; failures are logged, each once."""
        try:
            told = self._see_to()
        except FlatrunError as exc:
            told = exc.message
        except Exception:
            log.exception("nginx could not be looked after")
            told = self._told or _UNEXPECTED
        if told and told not in (self._told, _UNEXPECTED):
            log.warning("nginx was looked after: %s", told)
        self._told = told
        if told:
            # Another look finds out whether that was enough.
            self._earliest = time.monotonic() + self._distance
            self._distance = min(2 * self._distance, max(LONGEST, self._between))
            self._wake.set()
        else:
            self._distance = self._between

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if self._stopped.wait(max(self._settles, self._earliest - time.monotonic())):
                return
            self._wake.clear()
            self.look()

    def _see_to(self) -> str:
        """Why it needed it, and how it does now; empty where all is well."""
        backend = self._ctx.services.get(BACKEND)
        if not backend.environment().settings.enabled:
            return _ALL_WELL
        with self._ctx.services.get(LOCKS).hold("proxy", wait=WAIT_FOR_PROXY):
            owed = backend.owes()
            if not owed:
                return _ALL_WELL
            applied = self._ctx.services.get(PROXY).apply(force=owed != LOOPS)
        left_out = "; ".join(f"{name} is left out: {why}" for name, why in applied.quarantined.items())
        return ". ".join(text for text in (owed, applied.message, left_out) if text)


CARETAKER: ServiceKey[Caretaker] = ServiceKey("nginx_caretaker", "nginx")
