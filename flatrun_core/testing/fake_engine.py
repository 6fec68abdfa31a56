"""A Docker Engine in memory."""

import copy
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from flatrun_core.docker.containers import check_ref, container_missing, find
from flatrun_core.docker.logs import newest
from flatrun_core.errors import Conflict, NotFound
from flatrun_core.ports.docker import Container, Engine, EngineEvent, EngineInfo, LogLine, LogStream
from flatrun_core.ports.programs import Completed
from flatrun_core.testing.fake_containers import UP, FakeContainer, FakeLog, moment, published_port
from flatrun_core.testing.fake_exec import FakeExec
from flatrun_core.testing.fake_refusals import refusal, unavailable

NO_ADDRESSES: Final = "could not find an available, non-overlapping IPv4 address pool among the defaults"
_EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)


class FakeEngine(Engine):
    """Set ``down`` to stop the Engine, ``fail_next`` to make one call fail, ``calls`` tells what was asked.

    ``missing_images`` are the ones that are not on the host, ``address_ranges`` is how many networks fit,
    ``statistics`` and a container's ``document`` are what ``stats`` and ``inspect`` answer, ``programs``
    what ``exec`` does.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.touches = 0
        self.missing_images: set[str] = set()
        self.address_ranges = 1000
        self.statistics: dict[str, Mapping[str, Any]] = {}
        self.programs = FakeExec()
        self.volume_projects: dict[str, str] = {}
        self.facts = EngineInfo("27.0.0", "1.46", "2", "systemd", "/var/lib/docker", 4, 8 << 30)
        self._clock = clock
        self._down = False
        self._containers: dict[str, FakeContainer] = {}
        self._networks: dict[str, dict[str, Any]] = {
            name: {"Name": name, "Id": _digest(name), "Driver": driver, "Labels": {}}
            for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null"))
        }
        self._followers: dict[str, list[FakeLog]] = {}
        self._listeners: tuple[list[Callable[[EngineEvent], None]], ...] = ()
        self._failures: list[tuple[str, Exception]] = []
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    @property
    def down(self) -> bool:
        """Whether the Engine is stopped; its containers keep their state."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        if down == self._down:
            return
        self._down = down
        if down:
            for log in [log for logs in self._followers.values() for log in logs]:
                log.put(unavailable())
            self._followers.clear()
        self._publish(EngineEvent("disconnected" if down else "connected", time=self._clock()))

    def fail_next(self, method: str, error: Exception) -> None:
        """The next call of ``method`` raises ``error``."""
        self._failures.append((method, error))

    def add(
        self,
        name: str,
        *,
        image: str = "test/image",
        state: str = "running",
        labels: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> FakeContainer:
        """Make a container; ``fields`` are further ones of ``FakeContainer``."""
        with self._lock:
            if any(other.name == name for other in self._containers.values()):
                raise refusal(f"Conflict. The container name '/{name}' is already in use")
            number = next(self._numbers)
            container = FakeContainer(
                id=_digest(f"{name}-{number}"),
                name=name,
                image=image,
                labels=dict(labels or {}),
                created=_EPOCH + timedelta(seconds=number),
                **fields,
            )
            self._containers[container.id] = container
        self._tell("create", container)
        if state != "created":
            self.set_state(container.id, state)
        return container

    def set_state(
        self, ref: str, state: str, *, exit_code: int | None = None, health: str | None = None
    ) -> None:
        """Change a container's state as if it had happened by itself, with the events that go with it."""
        container = self._find(ref)
        before, container.state = container.state, state
        container.exit_code = exit_code
        if state == "running" and before != "running":
            container.health = health or ("healthy" if container.has_healthcheck else "none")
            self._tell("unpause" if before == "paused" else "start", container)
        elif state == "paused":
            self._tell("pause", container)
        elif before in UP and state not in UP:
            self._end_followers(container.id)
            self._tell("die", container, exitCode=str(exit_code or 0))
        if health is not None:
            container.health = health
            self._tell("health_status", container, health_status=health)

    def write_log(self, ref: str, line: str, stream: str = "stdout", timestamp: str | None = None) -> LogLine:
        """Let a container print a line, now or at an RFC 3339 time with nanoseconds."""
        container = self._find(ref)
        with self._lock:
            entry = LogLine(timestamp or container.next_timestamp(self._clock()), stream, line)
            container.log.append(entry)
            for log in self._followers.get(container.id, ()):
                log.put(entry)
        return entry

    def emit(self, action: str, ref: str = "", **attributes: str) -> None:
        """Send an event without changing anything."""
        container_id = self._find(ref).id if ref else ""
        self._publish(EngineEvent(action, container_id, attributes, self._clock()))

    def of_project(self, project: str, service: str | None = None) -> list[FakeContainer]:
        """A compose project's containers, in the order of their creation."""
        return [
            container
            for container in self._containers.values()
            if container.listed().project == project and service in (None, container.listed().service)
        ]

    def destroy(self, ref: str) -> None:
        """Remove a container whatever its state, as ``docker rm -f`` does."""
        container = self._find(ref)
        if container.state in UP:
            self.set_state(container.id, "exited", exit_code=137)
        with self._lock:
            self._containers.pop(container.id, None)
        self._tell("destroy", container)

    def snapshot(self) -> object:
        """Its containers, networks and volumes as they are now, for ``restore``."""
        with self._lock:
            return copy.deepcopy((self._containers, self._networks, self.volume_projects))

    def restore(self, snapshot: Any) -> None:
        """Be again as at the snapshot, without an event; what follows a log goes on."""
        with self._lock:
            self._containers, self._networks, self.volume_projects = copy.deepcopy(snapshot)

    @property
    def followers(self) -> int:
        """How many logs are being followed."""
        return sum(len(logs) for logs in self._followers.values())

    def info(self) -> EngineInfo:
        """See the port."""
        self._asked("info")
        return self.facts

    def containers(self, *, max_age: float = 60.0) -> Sequence[Container]:
        """See the port; newest first, as the Engine lists them."""
        self._asked("containers")
        with self._lock:
            return tuple(container.listed() for container in reversed(self._containers.values()))

    def touch(self) -> None:
        """See the port."""
        self.touches += 1

    def container(self, ref: str) -> Container:
        """See the port."""
        check_ref(ref)
        self._asked("container", ref)
        with self._lock:
            return find([container.listed() for container in self._containers.values()], ref)

    def start(self, container_id: str) -> None:
        """See the port."""
        container = self._asked_of("start", container_id)
        if container.state == "paused":
            raise refusal("cannot start a paused container, try unpause instead")
        self.check_ports(container.ports, container)
        self.set_state(container.id, "running")

    def stop(self, container_id: str) -> None:
        """See the port."""
        container = self._asked_of("stop", container_id)
        if container.state in UP:
            self.set_state(container.id, "exited", exit_code=0)

    def restart(self, container_id: str) -> None:
        """See the port."""
        container = self._asked_of("restart", container_id)
        if container.state in UP:
            self.set_state(container.id, "exited", exit_code=0)
        self.set_state(container.id, "running")

    def remove(self, container_id: str) -> None:
        """See the port."""
        container = self._asked_of("remove", container_id)
        if container.state in UP:
            raise Conflict("The container is running. Stop it first.", code="CONTAINER_RUNNING")
        self.destroy(container.id)

    def logs(
        self,
        container_id: str,
        *,
        tail: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[LogLine]:
        """See the port."""
        low, high = moment("since", since), moment("until", until)
        container = self._asked_of("logs", container_id)
        lines = container.lines_between(low, high)
        wanted = newest(tail)
        return lines[-wanted:] if wanted else []

    def follow(self, container_id: str, *, since: str | None = None) -> LogStream:
        """See the port."""
        after = moment("since", since)
        container = self._asked_of("follow", container_id)
        container.check_log()
        log = FakeLog(lambda log: self._drop(container.id, log))
        with self._lock:
            if since is not None:
                for line in container.log:
                    if moment("", line.timestamp) > after:
                        log.put(line)
            if container.state in UP:
                self._followers.setdefault(container.id, []).append(log)
            else:
                log.put(None)
        return log

    def inspect(self, container_id: str) -> Mapping[str, Any]:
        """See the port; the container's ``document`` over a few fields that are always there."""
        return self._asked_of("inspect", container_id).inspected()

    def stats(self, container_id: str) -> Mapping[str, Any]:
        """See the port."""
        container = self._asked_of("stats", container_id)
        return self.statistics.get(container.id, {})

    def exec(self, container_id: str, args: Sequence[str], *, timeout: float) -> Completed:
        """See the port; ``programs`` answers."""
        return self.programs.run(self._asked_of("exec", container_id, *args), tuple(args), timeout)

    def networks(self) -> Mapping[str, Mapping[str, Any]]:
        """See the port."""
        self._asked("networks")
        return dict(self._networks)

    def ensure_network(self, name: str) -> bool:
        """See the port."""
        check_ref(name)
        self._asked("ensure_network", name)
        with self._lock:
            if name in self._networks:
                return False
            if len(self._networks) >= self.address_ranges:
                raise refusal(NO_ADDRESSES)
            self._networks[name] = {"Name": name, "Id": _digest(name), "Driver": "bridge", "Labels": {}}
        return True

    def connect_network(self, network: str, container_id: str, aliases: Sequence[str]) -> None:
        """See the port."""
        container = self._asked_of("connect_network", container_id, network)
        if network not in self._networks:
            raise NotFound("Network not found", code="NETWORK_NOT_FOUND")
        container.networks.setdefault(network, tuple(aliases))

    def remove_network(self, name: str) -> None:
        """See the port."""
        check_ref(name)
        self._asked("remove_network", name)
        with self._lock:
            if any(name in c.networks and c.state in UP for c in self._containers.values()):
                raise Conflict("The network is in use by containers", code="NETWORK_IN_USE")
            self._networks.pop(name, None)

    def volumes(self, project: str) -> list[str]:
        """See the port."""
        self._asked("volumes", project)
        return sorted(name for name, owner in self.volume_projects.items() if owner == project)

    def image_exists(self, ref: str) -> bool:
        """See the port."""
        self._asked("image_exists", ref)
        return ref not in self.missing_images

    def subscribe(self, listener: Callable[[EngineEvent], None]) -> Callable[[], None]:
        """See the port; called on the thread that caused the event."""
        entry = [listener]
        with self._lock:
            self._listeners = (*self._listeners, entry)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not entry)

        return unsubscribe

    def check_ports(self, ports: Sequence[str], owner: FakeContainer | None = None) -> None:
        """Refuse published ports that another container which runs has."""
        wanted = {published_port(text) for text in ports}
        for other in self._containers.values():
            taken = wanted & {published_port(text) for text in other.ports} if other.state in UP else set()
            if taken and other is not owner:
                text = f"Bind for 0.0.0.0:{min(taken)[0]} failed: port is already allocated"
                raise refusal(text)

    def _asked(self, method: str, *args: str) -> None:
        self.calls.append((method, *args))
        for index, (name, error) in enumerate(self._failures):
            if name == method:
                del self._failures[index]
                raise error
        if self._down:
            raise unavailable()

    def _asked_of(self, method: str, container_id: str, *args: str) -> FakeContainer:
        check_ref(container_id)
        self._asked(method, container_id, *args)
        return self._find(container_id)

    def _find(self, ref: str) -> FakeContainer:
        with self._lock:
            listed = [container.listed() for container in self._containers.values()]
            found = self._containers.get(find(listed, ref).id)
        if found is None:
            raise container_missing()
        return found

    def _drop(self, container_id: str, log: FakeLog) -> None:
        with self._lock:
            logs = self._followers.get(container_id, [])
            if log in logs:
                logs.remove(log)

    def _end_followers(self, container_id: str) -> None:
        with self._lock:
            for log in self._followers.pop(container_id, []):
                log.put(None)

    def _tell(self, action: str, container: FakeContainer, **more: str) -> None:
        attributes = {**container.labels, "name": container.name, "image": container.image, **more}
        self._publish(EngineEvent(action, container.id, attributes, self._clock()))

    def _publish(self, event: EngineEvent) -> None:
        for entry in self._listeners:
            entry[0](event)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
