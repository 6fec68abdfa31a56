"""What the containers of a deployment use."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from flatrun_core import DockerUnavailable, FlatrunError, NotFound, PluginContext, ServiceKey
from flatrun_core.ports.deployments import DEPLOYMENTS, Deployments
from flatrun_core.ports.docker import ENGINE, Container, Engine
from flatrun_deployments.cgroups import CgroupReader, Counters, Group, engine_counters

log = logging.getLogger(__name__)

_RUNNING: Final = frozenset({"running", "paused"})
_NANO: Final = 1_000_000_000
# An earlier look is good for the processor's use within these ages, in nanoseconds; without one,
# everything is looked at a second time after the pause, in seconds.
_YOUNGEST, _OLDEST, _PAUSE = _NANO // 5, 60 * _NANO, 0.1
_ENGINE_CALLS: Final = 32


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """One container's use: bytes, and percent of one processor and of its memory limit."""

    container_id: str
    name: str
    service: str | None
    cpu_percent: float
    memory_usage: int
    memory_limit: int
    memory_percent: float
    network_rx: int
    network_tx: int
    block_read: int
    block_write: int
    pids: int


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """The sum; the host's memory counts once for all containers without a limit."""

    cpu_percent: float = 0.0
    memory_percent: float = 0.0
    memory_usage: int = 0
    memory_limit: int = 0


@dataclass(frozen=True, slots=True)
class DeploymentUsage:
    """What runs of a deployment, and what it uses."""

    deployment: str
    services: Sequence[ContainerUsage]
    summary: UsageSummary


@dataclass(frozen=True, slots=True)
class _Reading:
    container: Container
    counters: Counters
    percent: float


class Samples:
    """The last look at each container, so that the next one can tell the processor's use at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[Counters, float]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def percent(self, container_id: str, counters: Counters) -> float | None:
        """The processor's use until this look, by the look before; None when there is none of use."""
        with self._lock:
            kept = self._kept.get(container_id)
        if kept is None or kept[0].generation != counters.generation or counters.cpu < kept[0].cpu:
            return None
        age = counters.at - kept[0].at
        if age < _YOUNGEST:
            return kept[1]
        return cpu_percent(kept[0], counters) if age <= _OLDEST else None

    def keep(self, container_id: str, counters: Counters, percent: float) -> None:
        """Remember a look, unless the one before is so young that it serves longer."""
        with self._lock:
            kept = self._kept.get(container_id)
            young = kept is not None and counters.at - kept[0].at < _YOUNGEST
            if kept is None or not young or kept[0].generation != counters.generation:
                self._kept[container_id] = (counters, percent)

    def retain(self, container_ids: Collection[str]) -> None:
        """Forget containers that are no more."""
        with self._lock:
            for gone in self._kept.keys() - set(container_ids):
                del self._kept[gone]


class StatisticsService:
    """Reads the control groups where it can, and asks the Engine for the rest."""

    def __init__(
        self,
        engine: Engine,
        deployments: Callable[[], Deployments],
        reader: CgroupReader | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._deployments = deployments
        self._reader = reader or CgroupReader()
        self._sleep = sleep
        self._samples = Samples()

    def of(self, name: str) -> DeploymentUsage:
        """The use of a deployment's running containers, by service, replica and name.

        404 ``DEPLOYMENT_NOT_FOUND``; 503 ``DOCKER_UNAVAILABLE`` rather than numbers nobody knows.
        """
        project = self._deployments().get(name).project
        everything = self._engine.containers(max_age=1.0)
        self._samples.retain({container.id for container in everything})
        running = [c for c in everything if c.project == project and c.state in _RUNNING]
        if not running:
            return DeploymentUsage(name, [], UsageSummary())
        running.sort(key=lambda c: (c.service or "", c.number, c.name))
        host = self._engine.info().memory
        readings = self._read(running)
        usages = [_usage(readings[c.id], host) for c in running if c.id in readings]
        limits = [readings[c.id].counters.limit for c in running if c.id in readings]
        return DeploymentUsage(name, usages, summary(usages, limits, host))

    def _read(self, containers: Sequence[Container]) -> Mapping[str, _Reading]:
        groups = {c.id: group for c in containers if (group := self._locate(c)) is not None}
        first = self._look(containers, groups)
        asked = [c for c in containers if c.id not in first]
        with ThreadPoolExecutor(min(_ENGINE_CALLS, len(asked)) or 1, "docker-stats") as pool:
            answers = {c.id: pool.submit(self._ask, c) for c in asked}
            found = self._settle(containers, groups, first)
        return found | _answered(answers)

    def _settle(
        self, containers: Sequence[Container], groups: Mapping[str, Group], first: Mapping[str, Counters]
    ) -> dict[str, _Reading]:
        """Readings of containers whose counters were read, with a second look where one is missing."""
        by_id = {c.id: c for c in containers}
        percents = {key: self._samples.percent(key, counters) for key, counters in first.items()}
        unknown = [by_id[key] for key, percent in percents.items() if percent is None]
        readings = {
            key: _Reading(by_id[key], first[key], percent)
            for key, percent in percents.items()
            if percent is not None
        }
        if unknown:
            self._sleep(_PAUSE)
            for key, counters in self._look(unknown, groups).items():
                readings[key] = _Reading(by_id[key], counters, cpu_percent(first[key], counters))
        for key, reading in readings.items():
            self._samples.keep(key, reading.counters, reading.percent)
        return readings

    def _locate(self, container: Container) -> Group | None:
        def init() -> int:
            return int((self._engine.inspect(container.id).get("State") or {}).get("Pid") or 0)

        try:
            return self._reader.locate(container.id, init)
        except (OSError, ValueError, NotFound):
            return None

    def _look(self, containers: Iterable[Container], groups: Mapping[str, Group]) -> dict[str, Counters]:
        found: dict[str, Counters] = {}
        for container in containers:
            group = groups.get(container.id)
            try:
                if group is not None:
                    found[container.id] = self._reader.read(group, network="host" not in container.networks)
            except (OSError, ValueError, KeyError):
                log.debug("the control group of %s cannot be read", container.name)
        return found

    def _ask(self, container: Container) -> _Reading | None:
        """The Engine's own statistics; None for a container that has ended meanwhile."""
        try:
            counters, percent = engine_counters(self._engine.stats(container.id))
        except DockerUnavailable:
            raise
        except FlatrunError:
            return None
        return _Reading(container, counters, percent) if counters.cpu else None


def cpu_percent(before: Counters, now: Counters) -> float:
    """The processor's use between two looks, in percent of one processor."""
    passed = now.at - before.at
    return max(0, now.cpu - before.cpu) / passed * 100 if passed > 0 else 0.0


def summary(usages: Iterable[ContainerUsage], limits: Iterable[int | None], host: int) -> UsageSummary:
    """The sum over containers; ``limits`` are their own, None without one."""
    usages, limits = list(usages), list(limits)
    usage = sum(one.memory_usage for one in usages)
    own = [limit for limit in limits if limit is not None and (limit < host or not host)]
    limit = sum(own) + (host if len(own) < len(limits) else 0)
    return UsageSummary(
        cpu_percent=round(sum(one.cpu_percent for one in usages), 2),
        memory_percent=_percent(usage, limit),
        memory_usage=usage,
        memory_limit=limit,
    )


def _usage(reading: _Reading, host: int) -> ContainerUsage:
    container, counters = reading.container, reading.counters
    limit = counters.limit if counters.limit is not None and (counters.limit < host or not host) else host
    return ContainerUsage(
        container_id=container.id[:12],
        name=container.name,
        service=container.service,
        cpu_percent=round(reading.percent, 2),
        memory_usage=counters.memory,
        memory_limit=limit,
        memory_percent=_percent(counters.memory, limit),
        network_rx=counters.network_rx,
        network_tx=counters.network_tx,
        block_read=counters.block_read,
        block_write=counters.block_write,
        pids=counters.pids,
    )


def _answered(answers: Mapping[str, Future[_Reading | None]]) -> dict[str, _Reading]:
    readings = {key: answer.result() for key, answer in answers.items()}
    return {key: reading for key, reading in readings.items() if reading is not None}


def _percent(part: int, whole: int) -> float:
    return round(part / whole * 100, 2) if whole > 0 else 0.0


STATISTICS: Final[ServiceKey[StatisticsService]] = ServiceKey("deployments.statistics", "deployments")


def provide(ctx: PluginContext) -> None:
    """Offer ``STATISTICS`` to this plugin's own views."""
    services = ctx.services
    services.provide(
        STATISTICS, lambda: StatisticsService(services.get(ENGINE), lambda: services.get(DEPLOYMENTS))
    )
