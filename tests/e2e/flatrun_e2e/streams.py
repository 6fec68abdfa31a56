"""Reads server-sent events of a panel on threads of their own."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from flatrun_e2e.panel import PanelProcess


class Stream:
    """One stream: what came and when, until it ended or was hung up."""

    def __init__(self, panel: PanelProcess, path: str, key: str | None = None) -> None:
        address = urlsplit(panel.url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
        connection.connect()
        self._socket = connection.sock
        connection.request("GET", path, headers={"Authorization": f"Bearer {key or panel.key}"})
        self._response = connection.getresponse()
        self.status = self._response.status
        self.received: list[tuple[float, str, dict[str, Any]]] = []
        self.comments = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def lines(self) -> list[str]:
        """The text of every log event."""
        return [data["line"] for _, event, data in self.received if event == "log"]

    @property
    def events(self) -> list[str]:
        """The names of all events."""
        return [event for _, event, _ in self.received]

    @property
    def ended(self) -> bool:
        """Whether the panel closed it."""
        return not self._thread.is_alive()

    def last(self) -> tuple[str, dict[str, Any]]:
        """The last event, once the stream has ended."""
        self._thread.join(60)
        assert self.ended
        _, event, data = self.received[-1]
        return event, data

    def hang_up(self) -> None:
        """Close the connection as a client that goes."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._response.close()
        self._socket.close()

    def _run(self) -> None:
        event = ""
        with suppress(http.client.HTTPException, OSError, ValueError):
            for line in self._response:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "data":
                    self.received.append((time.time(), event, json.loads(value)))
                elif line.startswith(b":"):
                    self.comments += 1


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
