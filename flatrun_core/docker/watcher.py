"""Reads the Engine's event stream, so that what is kept in memory is dropped when it changes."""

import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from flatrun_core.docker.client import RefusedError, Stream
from flatrun_core.docker.engine import DockerEngine
from flatrun_core.errors import DockerUnavailable
from flatrun_core.ports.docker import EngineEvent

logger = logging.getLogger(__name__)

# Not exec_*, which healthchecks cause all day, and not top, attach, resize, copy: they change nothing.
_CONTAINER: Final = frozenset(
    [
        "create",
        "start",
        "restart",
        "stop",
        "kill",
        "die",
        "oom",
        "pause",
        "unpause",
        "rename",
        "update",
        "destroy",
        "health_status",
    ]
)
_NETWORK: Final = frozenset(("connect", "disconnect"))
# A signal alone changes no state; whatever it leads to is told by an event of its own.
_UNCHANGING: Final = frozenset(("kill",))
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
_FILTERS: Final = json.dumps(
    {"type": ["container", "network"], "event": sorted(_CONTAINER | _NETWORK)}, separators=(",", ":")
)


class Watcher:
    """One thread on the event stream; it comes back by itself within a second of the Engine."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._stream: Stream | None = None
        self._thread: threading.Thread | None = None
        self._complained = False

    def start(self) -> None:
        """Start the thread; running already is no error."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="docker-events", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """End the stream, wait for the thread at most ``timeout`` seconds, and drop idle connections."""
        self._stopping.set()
        with self._lock:
            stream = self._stream
        if stream is not None:
            stream.close()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        self._engine.close()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._watch()
            except (DockerUnavailable, RefusedError) as exc:
                self._complain(exc)
            except Exception:
                logger.exception("The Engine's events could not be read")
            lasted = time.monotonic() - began
            pause = _FIRST_PAUSE if lasted > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
            self._stopping.wait(pause)

    def _complain(self, exc: Exception) -> None:
        if not self._complained:
            logger.warning("Docker's events are not available, trying again until they are: %s", exc)
        self._complained = True

    def _watch(self) -> None:
        # The Engine answers a moment before it listens: what happens in between it replays since here.
        params = {"filters": _FILTERS, "since": f"{time.time():.9f}"}
        stream = self._engine.client.stream("/events", params=params, endless=True)
        with self._lock:
            self._stream = stream
        if self._stopping.is_set():
            stream.close()
        try:
            self._connected()
            rest = b""
            for chunk in stream:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._handle(line)
        finally:
            with self._lock:
                self._stream = None
            stream.close()
            self._engine.set_live(False)
            self._engine.publish(EngineEvent("disconnected", time=time.time()))

    def _connected(self) -> None:
        if self._complained:
            logger.info("Docker's events are available again")
        self._complained = False
        self._engine.set_live(True)
        self._engine.publish(EngineEvent("connected", time=time.time()))

    def _handle(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            raw = json.loads(line)
            kind, word = raw.get("Type"), str(raw.get("Action") or "")
        except (ValueError, AttributeError):
            logger.warning("An event of the Engine was not understood")
            self._engine.touch()
            return
        action, _, detail = word.partition(": ")
        if kind == "network" and action in _NETWORK:
            self._engine.touch()
        elif kind == "container" and action in _CONTAINER:
            if action not in _UNCHANGING:
                self._engine.touch()
            self._engine.publish(_event(action, detail, raw))


def _event(action: str, detail: str, raw: Mapping[str, Any]) -> EngineEvent:
    actor = raw.get("Actor") or {}
    attributes = {str(name): str(value) for name, value in (actor.get("Attributes") or {}).items()}
    if detail:
        attributes[action] = detail
    when = int(raw.get("timeNano") or 0) / 1e9 or float(raw.get("time") or 0)
    return EngineEvent(action, str(actor.get("ID") or ""), attributes, when)
