"""Server-sent events: admission, keep-alive, and an end for every reason there is.

A stream holds one server thread for its life. The server has ``api.max_streams`` threads beside
its workers, and the gate below admits no more than that, so streams never starve other requests.
"""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, g, request

from flatrun_core.errors import FlatrunError, RateLimited, Unavailable
from flatrun_core.ports.auth import Identity

log = logging.getLogger(__name__)

KEEP_ALIVE = 15.0
RECHECK = 60.0
PER_ACTOR = 10
RETRY_AFTER = {"Retry-After": "5"}

# Longer than waitress's own buffer and what proxies hold back: the first event leaves at once.
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; ``data`` becomes one line of JSON."""

    event: str
    data: Mapping[str, Any]

    def encode(self) -> bytes:
        """The event on the wire."""
        text = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        return f"event: {self.event}\ndata: {text}\n\n".encode("utf-8", "replace")


class StreamGate:
    """Counts streams, in all and for each actor; ``closing`` ends them all."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._by_actor: Counter[tuple[str, str]] = Counter()
        self.closing = threading.Event()

    @property
    def active(self) -> int:
        """How many streams are open."""
        with self._lock:
            return self._by_actor.total()

    def enter(self, identity: Identity) -> Callable[[], None]:
        """Admit a stream or raise; the way to leave, which may be called more than once."""
        actor = (identity.actor.type, identity.actor.id)
        with self._lock:
            if self.closing.is_set():
                raise Unavailable("The panel is shutting down", code="SHUTTING_DOWN", headers=RETRY_AFTER)
            if self._by_actor.total() >= self._limit():
                raise Unavailable("Too many streams are open", code="TOO_MANY_STREAMS", headers=RETRY_AFTER)
            if identity.role != "admin" and self._by_actor[actor] >= PER_ACTOR:
                raise RateLimited(f"At most {PER_ACTOR} streams at a time", headers=RETRY_AFTER)
            self._by_actor[actor] += 1
        return _Leave(self, actor)

    def leave(self, actor: tuple[str, str]) -> None:
        """Give a stream's place back."""
        with self._lock:
            self._by_actor[actor] -= 1
            if self._by_actor[actor] <= 0:
                del self._by_actor[actor]


class _Leave:
    def __init__(self, gate: StreamGate, actor: tuple[str, str]) -> None:
        self._gate, self._actor, self._lock, self._left = gate, actor, threading.Lock(), False

    def __call__(self) -> None:
        with self._lock:
            if not self._left:
                self._left = True
                self._gate.leave(self._actor)


def event_stream(events: Iterator[ServerEvent | None]) -> Response:
    """Answer the current request with a stream of events.

    ``events`` yields an event, or None about once a second while idle; what it raises before its
    first item is an ordinary error, afterwards an ``error`` event. The stream ends with an ``end``
    event when the panel stops (``shutdown``) or the identity loses access (``forbidden``), and
    without one when the client goes; ``events`` is closed in every case.
    """
    gate: StreamGate = current_app.extensions["flatrun"].streams
    leave = gate.enter(g.flatrun_identity)
    try:
        first = next(events, _END)
    except BaseException:
        leave()
        _close(events)
        raise
    gone = request.environ.get("waitress.client_disconnected")
    source = _Source(events, first)
    body = _frames(source, gate, g.flatrun_rechecker(), gone if callable(gone) else _never)
    response = Response(body, mimetype="text/event-stream", headers=HEADERS)
    response.call_on_close(leave)
    response.call_on_close(source.close)
    return response


class _End:
    pass


_END = _End()


class _Source:
    """The events with the first one put back, closable from another place than it is read."""

    def __init__(self, events: Iterator[ServerEvent | None], first: ServerEvent | _End | None) -> None:
        self._events, self._first, self._begun = events, first, False

    def next(self) -> ServerEvent | _End | None:
        if not self._begun:
            self._begun = True
            return self._first
        return next(self._events, _END)

    def close(self) -> None:
        _close(self._events)


def _frames(
    source: _Source, gate: StreamGate, allowed: Callable[[], bool], gone: Callable[[], bool]
) -> Iterator[bytes]:
    wrote = checked = time.monotonic()
    yield b": open\n\n"
    while True:
        item = _next(source)
        now = time.monotonic()
        if isinstance(item, _End) or gone():
            return
        if item is not None:
            wrote = now
            yield item.encode()
            if item.event == "error":
                return
        reason = "shutdown" if gate.closing.is_set() else ""
        if not reason and now - checked >= RECHECK:
            checked = now
            reason = "" if allowed() else "forbidden"
        if reason:
            yield ServerEvent("end", {"reason": reason}).encode()
            return
        if now - wrote >= KEEP_ALIVE:
            wrote = now
            yield b": keep-alive\n\n"


def _next(source: _Source) -> ServerEvent | _End | None:
    try:
        return source.next()
    except FlatrunError as error:
        return ServerEvent("error", error.body())
    except Exception:
        log.exception("a stream failed")
        return ServerEvent("error", {"error": "The stream failed", "code": "INTERNAL_ERROR"})


def _never() -> bool:
    return False


def _close(events: Iterator[Any]) -> None:
    close = getattr(events, "close", None)
    if close is not None:
        close()
