"""What runs when the panel starts: repair, then everything is applied once."""

import logging
import threading
from typing import Final

from flatrun_core import FlatrunError, PluginContext, ServiceKey
from flatrun_core.ports.proxy import PROXY
from flatrun_core.ports.scheduling import LOCKS
from flatrun_nginx.backend import BACKEND

log = logging.getLogger(__name__)

STOP_WITHIN: Final = 5.0
WAIT_FOR_PROXY: Final = 120.0


class Life:
    """Its thread ends by itself."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread = threading.Thread(target=self.repair, name="nginx-start", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait a moment for it."""
        if self._thread is not None:
            self._thread.join(STOP_WITHIN)

    def repair(self) -> None:
        """Finish or undo what a crash left, and apply; failures are logged."""
        try:
            backend = self._ctx.services.get(BACKEND)
            if not backend.environment().settings.enabled:
                return
            with self._ctx.services.get(LOCKS).hold("proxy", wait=WAIT_FOR_PROXY):
                backend.repair()
                applied = self._ctx.services.get(PROXY).apply()
        except FlatrunError as exc:
            log.error("nginx could not be set up at the start: %s", exc.message)
        except Exception:
            log.exception("nginx could not be set up at the start")
        else:
            if applied.message and not applied.skipped:
                log.warning("%s", applied.message)


LIFE: ServiceKey[Life] = ServiceKey("nginx_life", "nginx")
