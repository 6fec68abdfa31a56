"""Files and containers joined: what state a deployment is in."""

from collections.abc import Iterable, Sequence
from typing import Final

from flatrun_core.ports.deployments import Deployment, Service
from flatrun_core.ports.docker import Container
from flatrun_deployments.errors import project_shared
from flatrun_deployments.folder import Folder, Planned

# From best to worst; of several replicas the worst one speaks for the service.
_STATES: Final = ("running", "created", "paused", "exited", "removing", "restarting", "dead")
_HEALTH: Final = ("none", "healthy", "starting", "unhealthy")
_BROKEN: Final = frozenset({"restarting", "dead"})
# Ended by itself, or by the signals that an interrupt, a kill and a stop send.
_GOOD_EXITS: Final = frozenset({0, 130, 137, 143})
_STATE_RANK: Final = {state: rank for rank, state in enumerate(_STATES)}
_HEALTH_RANK: Final = {health: rank for rank, health in enumerate(_HEALTH)}


def by_project(containers: Iterable[Container]) -> dict[str, list[Container]]:
    """Containers grouped by compose project; those of none are left out."""
    groups: dict[str, list[Container]] = {}
    for container in containers:
        project = container.project
        if project:
            groups.setdefault(project, []).append(container)
    return groups


def sharing(folders: Iterable[Folder]) -> dict[str, tuple[str, ...]]:
    """Of each folder whose compose project is not its own alone: the names of the others."""
    names: dict[str, list[str]] = {}
    for folder in folders:
        names.setdefault(folder.project, []).append(folder.name)
    return {
        name: tuple(other for other in together if other != name)
        for together in names.values()
        if len(together) > 1
        for name in together
    }


def join(folder: Folder, containers: Sequence[Container] | None, others: Sequence[str] = ()) -> Deployment:
    """A folder and the containers of its project; None when Docker cannot be asked.

    ``others`` are the folders that have the same project. Nobody can say whose of them a container
    is, so it is nobody's: the deployment is an error, without services and without a project to
    find containers by.
    """
    counted = None if containers is None else [c for c in containers if not c.oneoff]
    problem = folder.problem
    if others:
        problem = "; ".join(filter(None, (problem, project_shared(folder.project, others).message)))
    return Deployment(
        name=folder.name,
        path=folder.path,
        status=_deployment_status(problem, counted),
        created_at=folder.created_at,
        updated_at=folder.updated_at,
        services=() if problem else _services(folder, counted),
        metadata=folder.metadata,
        # Logs, statistics and lists look for containers by it: a grant of this deployment must not
        # reach what may be another's.
        project="" if others else folder.project,
        compose_file=folder.compose.path,
        primary_service=folder.primary,
        problem=problem,
    )


def _deployment_status(problem: str, containers: Sequence[Container] | None) -> str:
    if containers is None:
        return "unknown"
    if problem or any(_is_broken(container) for container in containers):
        return "error"
    return "running" if any(c.state == "running" for c in containers) else "stopped"


def _is_broken(container: Container) -> bool:
    if container.state in _BROKEN or container.health == "unhealthy":
        return True
    # A code that is not known is no reason for an alarm.
    return container.state == "exited" and container.exit_code not in (None, *_GOOD_EXITS)


def _services(folder: Folder, containers: Sequence[Container] | None) -> tuple[Service, ...]:
    if containers is None:
        return tuple(_without_containers(planned, "unknown") for planned in folder.services)
    replicas: dict[str, list[Container]] = {}
    for container in containers:
        replicas.setdefault(container.service or "", []).append(container)
    return tuple(
        _joined(planned, replicas[planned.name])
        if planned.name in replicas
        else _without_containers(planned, "stopped")
        for planned in folder.services
    )


def _without_containers(planned: Planned, status: str) -> Service:
    return Service(planned.name, status, "none", None, planned.image, planned.ports, planned.networks)


def _joined(planned: Planned, replicas: Sequence[Container]) -> Service:
    worst = replicas[0] if len(replicas) == 1 else max(replicas, key=_badness)
    return Service(
        name=planned.name,
        status=worst.state,
        health=worst.health if len(replicas) == 1 else max((c.health for c in replicas), key=_health_rank),
        container_id=worst.id[:12],
        image=planned.image,
        ports=planned.ports,
        networks=worst.networks or planned.networks,
        created_at=worst.created,
        replicas=len(replicas),
    )


def _badness(container: Container) -> tuple[int, bool, int, int]:
    """How bad a replica is; of equals the lowest number counts as the worst."""
    failed = _is_broken(container)
    return (_state_rank(container.state), failed, _health_rank(container.health), -container.number)


def _state_rank(state: str) -> int:
    # A word the Engine may learn one day is as bad as can be.
    return _STATE_RANK.get(state, len(_STATES))


def _health_rank(health: str) -> int:
    return _HEALTH_RANK.get(health, 0)
