"""A panel that really serves, on a free port of this machine, and a client that speaks HTTP to it."""

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self

from flask import Flask
from peewee import Model

from flatrun_core.server import PanelServer
from flatrun_core.settings import ApiSettings

_PATIENCE: Final = 30.0  # seconds
_STREAM: Final = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came; of a stream there are only the status and the headers."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The first header of that name, in any case; empty without."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def is_stream(self) -> bool:
        """Whether this is the beginning of a stream of events."""
        return self.header("Content-Type").startswith(_STREAM)

    def json(self) -> Any:
        """The body as JSON, or None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class ServedPanel:
    """Serves an application by the panel's own server in a thread; use it with ``with``.

    Nothing of the panel is started: no timers, no jobs, no watcher.
    """

    def __init__(self, app: Flask) -> None:
        panel = app.extensions["flatrun"]
        api = replace(panel.settings.snapshot.of(ApiSettings), host="127.0.0.1", port=0)
        self._streams = panel.streams
        self._database = panel.database
        self._models = [one for one in _every(Model) if one._meta.database is self._database.peewee]
        self._server = PanelServer(app, api)
        self.port = int(self._server.addresses[0].rpartition(":")[2])
        self._thread = threading.Thread(target=self._server.run, args=(self._streams.closing.set,))
        self._connection = self._connect()

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and close every socket."""
        self._connection.close()
        self._server.stop()
        self._thread.join(_PATIENCE)
        self._server.close()

    def take_models(self) -> None:
        """Bind the models to this panel again: they have one database in a process, the last panel's."""
        self._database.bind(self._models)

    def ask(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Answer:
        """One request, by one kept connection; ``target`` is encoded already.

        ``body`` is sent as it is when it is bytes, else as JSON. The connection of a stream is closed
        once its headers are here.
        """
        sent = dict(headers or {})
        data = body
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, target, body=data, headers=sent)
        response = self._connection.getresponse()
        head = Answer(response.status, tuple(response.getheaders()), b"")
        if head.is_stream:
            response.close()
            self._connection.close()
            return head
        return replace(head, body=response.read())

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)


def _every(kind: type[Model]) -> list[type[Model]]:
    direct = kind.__subclasses__()
    return [*direct, *(one for sub in direct for one in _every(sub))]
