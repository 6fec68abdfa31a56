"""Serves one panel by waitress: its threads, its clean end, and its own failures in our error shape.

The loop here replaces waitress's ``run``, because it must go on doing socket I/O while running
requests and streams come to their end after a signal.
"""

import contextlib
import errno
import json
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from flask import g, has_request_context
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from flatrun_core.errors import StartupError
from flatrun_core.panel_socket import PanelSocket, SocketListener
from flatrun_core.settings import ApiSettings

if TYPE_CHECKING:
    from flask import Flask

    from flatrun_core.panel import Panel

log = logging.getLogger(__name__)
access = logging.getLogger("flatrun.access")

# How long running requests and streams may take to end after a signal, in seconds.
DRAIN_WITHIN: Final = 10.0
# Waitress takes a whole body before anybody is authenticated; routes themselves take 1 MiB.
MAX_BODY: Final = 16 * 1024 * 1024
MAX_HEADERS: Final = 64 * 1024
# A reader slower than its stream makes the stream wait, not the panel grow.
MAX_UNSENT: Final = 256 * 1024
# After an answer to a request not read whole, how long to read on so that the answer arrives.
LINGER_FOR: Final = 2.0

# Connections beside those that have a thread each: waiting, or kept alive.
CONNECTIONS: Final = 512
# Milliseconds without an acknowledgement after which the kernel gives a connection up (as against
# some fifteen minutes), so that the thread of a client whose machine vanished comes back.
_GIVE_UP: Final = [(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300_000)]

_ERRORS: Final = {
    400: ("INVALID_REQUEST", "The request is not well-formed HTTP"),
    413: ("PAYLOAD_TOO_LARGE", "The request body is larger than the panel accepts"),
    431: ("HEADERS_TOO_LARGE", "The request headers are larger than the panel accepts"),
    501: ("NOT_IMPLEMENTED", "The request uses a transfer coding that is not supported"),
}
_UNEXPECTED: Final = ("INTERNAL_ERROR", "An unexpected error occurred")


class PanelErrorTask(ErrorTask):  # type: ignore[misc]
    """Waitress's own refusals, with the body that every failure of the panel has."""

    def execute(self) -> None:
        """Write the answer; the connection closes after it."""
        error = self.request.error
        code, text = _ERRORS.get(error.code, _UNEXPECTED)
        log.info("refused before the application: %s %s", error.code, error.body)
        body = json.dumps({"error": text, "code": code}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Content-Type", "application/json"), ("X-Request-ID", uuid.uuid4().hex)]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.refused = True
        self.write(body)


class PanelChannel(HTTPChannel):  # type: ignore[misc]
    """A connection, which after a refusal reads on for a moment.

    Closing while the client still sends would make the kernel throw the answer away.
    """

    error_task_class = PanelErrorTask
    refused = False
    _close_at = 0.0

    @property
    def idle(self) -> bool:
        """Whether no request runs or waits here and everything written has left."""
        return not self.requests and not self.total_outbufs_len and not self._close_at

    def readable(self) -> bool:
        """See waitress."""
        return bool(self._close_at or super().readable())

    def writable(self) -> bool:
        """See waitress; true when reading on has lasted long enough, which then closes."""
        return time.monotonic() >= self._close_at if self._close_at else bool(super().writable())

    def received(self, data: bytes) -> bool:
        """See waitress; what comes after a refusal is dropped."""
        return False if self.refused else bool(super().received(data))

    def handle_close(self) -> None:
        """See waitress."""
        if self.refused and self.connected and not self._close_at:
            self._close_at = time.monotonic() + LINGER_FOR
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_close()


class PanelServer:
    """Waitress around one application: bound when made, serving while ``run`` runs."""

    def __init__(self, application: Callable[..., Any], api: ApiSettings) -> None:
        self._application = application
        self._socket: PanelSocket | None = None
        self._threads = api.threads + api.max_streams
        self._dispatcher = ThreadedTaskDispatcher()
        self._map: dict[int, Any] = {}
        try:
            create_server(application, map=self._map, _dispatcher=self._dispatcher, **self._adjustments(api))
        except (OSError, ValueError) as exc:
            wasyncore.close_all(self._map)
            raise StartupError(_cannot_listen(api, exc)) from exc
        self._listeners = [entry for entry in self._map.values() if isinstance(entry, BaseWSGIServer)]
        for listener in self._listeners:
            listener.channel_class = PanelChannel
            listener.adj.socket_options = [*listener.adj.socket_options, *_GIVE_UP]
        self.stopping = False

    def listen_on(self, panel_socket: PanelSocket) -> bool:
        """Serve the proxy's socket, too, with the same threads and limits.

        False, with the reason in the log, when it cannot be had: the panel then serves TCP alone.
        """
        try:
            listening = panel_socket.open()
        except (OSError, StartupError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            log.warning("the proxy cannot reach the panel: %s cannot be had: %s", panel_socket.path, reason)
            return False
        self._socket = panel_socket
        listener = SocketListener(
            self._application,
            listening,
            map=self._map,
            dispatcher=self._dispatcher,
            adj=self._listeners[0].adj,
        )
        listener.channel_class = PanelChannel
        self._listeners.append(listener)
        return True

    def _adjustments(self, api: ApiSettings) -> dict[str, Any]:
        return {
            "host": api.host,
            "port": api.port,
            "threads": self._threads,
            "connection_limit": self._threads + CONNECTIONS,
            # Without it a client that went is noticed at the next write only.
            "channel_request_lookahead": 1,
            "outbuf_high_watermark": MAX_UNSENT,
            "max_request_body_size": MAX_BODY,
            "max_request_header_size": MAX_HEADERS,
            # Whom to believe is decided by the application, from ``api.trusted_proxies``.
            "clear_untrusted_proxy_headers": False,
            "ident": None,
            "log_socket_errors": False,
        }

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as URLs; the proxy's socket is none of them."""
        servers = [server for server in self._listeners if server.family != socket.AF_UNIX]
        places = [(server.effective_host, server.effective_port) for server in servers]
        return [
            f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host, port in places
        ]

    def run(self, closing: Callable[[], None]) -> None:
        """Serve until ``stop``, then let what runs come to its end; ``closing`` tells the streams."""
        self._dispatcher.set_thread_count(self._threads)
        while not self.stopping:
            self._turn(1.0)
        for listener in self._listeners:
            # Not the listener's own close: that ends the trigger, which running requests still pull.
            wasyncore.dispatcher.close(listener)
        self._leave_socket()
        closing()
        self._drain()
        self._dispatcher.shutdown(timeout=1)

    def stop(self) -> None:
        """Make ``run`` come to its end; for signal handlers and other threads."""
        self.stopping = True
        self._listeners[0].pull_trigger()

    def close(self) -> None:
        """Close every socket."""
        for listener in self._listeners:
            listener.close()
        wasyncore.close_all(self._map)
        self._leave_socket()

    def _leave_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _turn(self, timeout: float) -> None:
        # poll, because select fails on descriptors above 1023.
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._map, count=1)

    def _drain(self) -> None:
        until = time.monotonic() + DRAIN_WITHIN
        while busy := self._busy():
            if time.monotonic() > until:
                log.warning("%d requests still run after %.0f s and are cut off", busy, DRAIN_WITHIN)
                return
            self._turn(0.1)

    def _busy(self) -> int:
        channels = [entry for entry in self._map.values() if isinstance(entry, PanelChannel)]
        for channel in channels:
            if channel.idle:
                channel.handle_close()
        return sum(not channel.idle for channel in channels)


def serve(app: "Flask", *, access_log: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. A second signal ends the process at once.

    Raises ``StartupError`` when the address cannot be had or the panel cannot start.
    """
    panel: Panel = app.extensions["flatrun"]
    api = panel.settings.snapshot.of(ApiSettings)
    server = PanelServer(_logged(app) if access_log else app, api)
    try:
        with _signals(server):
            try:
                if panel.proxy.backend() is not None:
                    server.listen_on(PanelSocket(panel.state_folder.parent))
                panel.start()
                log.info("serving at %s", " ".join(server.addresses))
                notify_systemd("READY=1")
                server.run(panel.streams.closing.set)
            finally:
                notify_systemd("STOPPING=1")
                panel.stop()
    finally:
        server.close()
    log.info("stopped")
    return 0


@contextlib.contextmanager
def _signals(server: PanelServer) -> Iterator[None]:
    def asked(number: int, _: Any) -> None:
        if server.stopping:
            os._exit(128 + number)
        server.stop()

    previous = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def notify_systemd(state: str) -> None:
    """Tell the service manager, if one waits for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as exc:
        log.warning("the service manager cannot be told: %s", exc)


def configure_logging(level: int = logging.INFO) -> None:
    """Log to stderr, one line a record, with the id of the request it belongs to."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("waitress").setLevel(max(level, logging.WARNING))
    # Says at each burst that requests wait for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


class _Line(logging.Formatter):
    """``time level name [request] message``; what a request brought cannot begin a line of its own."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s%(request)s %(message)s", "%Y-%m-%dT%H:%M:%S"
        )

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        request = g.get("flatrun_request_id") if has_request_context() else None
        record.request = f" [{request}]" if request else ""
        record.message = "".join(char if char.isprintable() else repr(char)[1:-1] for char in record.message)
        return super().formatMessage(record)


def _logged(app: Callable[..., Any]) -> Callable[..., Any]:
    """The application with one line for each answer, without its query, which may hold secrets."""

    def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        started = time.monotonic()

        def answered(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            access.info(
                "%s %s %s %s %.0fms",
                environ.get("REMOTE_ADDR"),
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                status[:3],
                (time.monotonic() - started) * 1000,
            )
            return start_response(status, headers, *rest)

        return app(environ, answered)

    return wsgi


def _cannot_listen(api: ApiSettings, exc: Exception) -> str:
    where = f"{api.host} port {api.port}"
    number = getattr(exc, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            f"Port {api.port} is already in use: another panel or program listens on {where}. "
            "End it, or choose another port with --port or api.port"
        )
    if number == errno.EACCES:
        return (
            f"Listening on {where} is not allowed: ports below 1024 need privileges; choose another api.port"
        )
    if number == errno.EADDRNOTAVAIL:
        return f"{api.host} is no address of this machine: change api.host"
    return f"Listening on {where} fails: {exc}"
