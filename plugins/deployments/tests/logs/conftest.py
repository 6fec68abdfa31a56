"""Followers on threads, and the containers of a project in memory."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flatrun_core import ServerEvent
from flatrun_core.ports.docker import NUMBER_LABEL, PROJECT_LABEL, SERVICE_LABEL, Container, EngineEvent
from flatrun_core.testing.fake_docker import FakeContainer, FakeEngine
from flatrun_deployments.log_follower import Follower, Timing
from flatrun_deployments.log_hub import HubLimits, LogHub

QUICK = Timing(idle=0.05, pause=0.0, stopped=0.25, look=0.2, settle=0.02)
LIMITS = HubLimits(settle=0.01)


class ProjectSource:
    """The containers of a project, as a deployment has them."""

    def __init__(self, engine: FakeEngine, project: str = "blog") -> None:
        self.engine = engine
        self.project = project
        self.there = True
        self.hidden: set[str] = set()

    def containers(self) -> list[Container]:
        return [
            container
            for container in self.engine.containers()
            if container.project == self.project and container.name not in self.hidden
        ]

    def exists(self) -> bool:
        return self.there

    def concerns(self, event: EngineEvent) -> bool:
        return True


class Client:
    """Reads a stream on a thread of its own until it ends or is told to hang up."""

    def __init__(self, events: Iterator[ServerEvent | None]) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None
        self.opened = threading.Event()
        self._leaving = threading.Event()
        self._events = events
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def lines(self) -> list[str]:
        """The text of every log event."""
        return [data["line"] for event, data in self.received if event == "log"]

    @property
    def ended(self) -> str | None:
        """The reason of the end event."""
        return next((data["reason"] for event, data in self.received if event == "end"), None)

    def hang_up(self) -> "Client":
        """Close the stream and wait for that."""
        self._leaving.set()
        return self.join()

    def join(self) -> "Client":
        """Wait for the stream's end."""
        self._thread.join(5)
        assert not self._thread.is_alive()
        return self

    def _run(self) -> None:
        try:
            for item in self._events:
                if item is not None:
                    self.received.extend(decoded(item.encode()))
                self.opened.set()
                if self._leaving.is_set():
                    break
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            self.error = exc
        finally:
            self._events.close()  # type: ignore[attr-defined]
            self.opened.set()


def decoded(wire: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Server-sent events as pairs of name and data."""
    events = []
    for block in wire.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


class Logs:
    """A hub on an Engine in memory, the project ``blog``, and whoever follows it."""

    def __init__(self, engine: FakeEngine, limits: HubLimits = LIMITS) -> None:
        self.engine = engine
        self.hub = LogHub(engine, limits)
        self.source = ProjectSource(engine)
        self.clients: list[Client] = []

    def add(self, name: str, service: str | None = "web", **more: Any) -> FakeContainer:
        """A container of the project."""
        labels = {PROJECT_LABEL: "blog", NUMBER_LABEL: str(more.pop("number", 1))}
        return self.engine.add(name, labels=labels | ({SERVICE_LABEL: service} if service else {}), **more)

    def other_source(self) -> ProjectSource:
        """Another source of the same project's containers."""
        return ProjectSource(self.engine)

    def events(self, tail: int = 100, since: str | None = None, timing: Timing = QUICK) -> Any:
        """The events of a new follower, to be read by the caller."""
        return Follower(self.hub, self.source, tail, since, timing).events()

    def follow(self, tail: int = 100, since: str | None = None, timing: Timing = QUICK) -> Client:
        """A new follower that has got the last lines."""
        client = Client(self.events(tail, since, timing))
        self.clients.append(client)
        assert client.opened.wait(5)
        return client


def eventually(true: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.002)


@pytest.fixture
def logs(fake_engine: FakeEngine) -> Iterator[Logs]:
    """Return a hub; afterwards nothing of it may run."""
    made = Logs(fake_engine)
    yield made
    for client in made.clients:
        client.hang_up()
    eventually(lambda: made.hub.idle and not fake_engine.followers)


@pytest.fixture
def read() -> Iterator[Callable[[Any], Client]]:
    """Return a function that reads a stream on a thread of its own."""
    clients: list[Client] = []

    def start(events: Any) -> Client:
        clients.append(Client(events))
        assert clients[-1].opened.wait(5)
        return clients[-1]

    yield start
    for client in clients:
        client.hang_up()


@pytest.fixture
def until() -> Callable[..., None]:
    """Return a function that waits until something is true."""
    return eventually


@pytest.fixture
def decode() -> Callable[[bytes], list[tuple[str, dict[str, Any]]]]:
    """Return a function that reads server-sent events."""
    return decoded
