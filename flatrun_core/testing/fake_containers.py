"""A container in memory, and a follower of its log."""

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from flatrun_core.docker.logs import since_parameter
from flatrun_core.errors import DockerUnavailable, Failed
from flatrun_core.ports.docker import Container, LogLine, LogStream

UP: Final = ("running", "paused", "restarting")


@dataclass(eq=False)
class FakeContainer:
    """A container and what the Engine knows of it; change it through the engine's methods."""

    id: str
    name: str
    image: str
    labels: dict[str, str]
    created: datetime
    state: str = "created"
    health: str = "none"
    exit_code: int | None = None
    ports: tuple[str, ...] = ()
    networks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    has_healthcheck: bool = False
    keeps_log: bool = True
    log: list[LogLine] = field(default_factory=list)
    document: dict[str, Any] = field(default_factory=dict)

    def listed(self) -> Container:
        """The container as a list shows it."""
        running = self.state in UP
        health = f" ({self.health})" if self.health != "none" else ""
        words = {
            "created": "Created",
            "exited": f"Exited ({self.exit_code or 0}) 1 second ago",
            "paused": "Up 1 second (Paused)",
            "restarting": "Restarting (1) 1 second ago",
        }
        return Container(
            id=self.id,
            name=self.name,
            image=self.image,
            state=self.state,
            status=words.get(self.state, f"Up 1 second{health}" if running else self.state.capitalize()),
            health=self.health if running else "none",
            created=self.created,
            exit_code=(self.exit_code or 0) if self.state == "exited" else None,
            ports=self.ports if running else (),
            networks=tuple(sorted(self.networks)),
            labels=dict(self.labels),
        )

    def inspected(self) -> dict[str, Any]:
        """The container as the Engine describes it: ``document`` over fields that are always there."""
        running = self.state in UP
        networks = {name: {"Aliases": list(aliases)} for name, aliases in self.networks.items()}
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Created": self.created.isoformat(),
            "State": {"Status": self.state, "Running": running, "Pid": 4242 if running else 0},
            "Config": {"Image": self.image, "Labels": self.labels, "Tty": False},
            "NetworkSettings": {"Networks": networks},
            **self.document,
        }

    def check_log(self) -> None:
        """Refuse to read a log that is not kept."""
        if not self.keeps_log:
            text = "The container's logging driver 'none' keeps no log that can be read"
            raise Failed(text, code="LOGS_UNAVAILABLE")

    def lines_between(self, low: int, high: int) -> list[LogLine]:
        """Lines by time, between two moments; 0 for no end."""
        self.check_log()
        return [
            line
            for line in sorted(self.log, key=lambda line: line.timestamp)
            if low <= moment("", line.timestamp) <= (high or float("inf"))
        ]

    def next_timestamp(self, now: float) -> str:
        """Now to the nanosecond, and later than the last line."""
        nanoseconds = int(now * 1e9)
        if self.log:
            nanoseconds = max(nanoseconds, moment("", self.log[-1].timestamp) + 1)
        seconds, rest = divmod(nanoseconds, 10**9)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


class FakeLog(LogStream):
    """A follower of one container's log."""

    def __init__(self, ended: Callable[["FakeLog"], None]) -> None:
        self._items: queue.SimpleQueue[LogLine | DockerUnavailable | None] = queue.SimpleQueue()
        self._ended = ended
        self.closed = False

    def put(self, item: LogLine | DockerUnavailable | None) -> None:
        """A line, the end, or the end because the Engine went."""
        self._items.put(item)

    def __iter__(self) -> Iterator[LogLine]:
        """Lines as they come."""
        while not self.closed:
            item = self._items.get()
            if isinstance(item, DockerUnavailable):
                raise item
            if item is None or self.closed:
                return
            yield item

    def close(self) -> None:
        """End it."""
        self.closed = True
        self._ended(self)
        self._items.put(None)


def moment(name: str, time: str | None) -> int:
    """Nanoseconds since the epoch; 0 for none."""
    parameter = since_parameter(name, time).get(name)
    return int(parameter.replace(".", "")) if parameter else 0


def published_port(text: str) -> tuple[int, str]:
    """The host's port and the protocol of a port in Docker's notation."""
    host, _, inside = text.partition("->")
    return int(host.rpartition(":")[2]), inside.partition("/")[2]
