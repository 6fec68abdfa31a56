"""Containers as the Engine lists them, and the list that is kept between its events."""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, Final

from flatrun_core.errors import Conflict, Invalid, NotFound
from flatrun_core.ports.docker import Container

# Whoever has waited this long for a query that fails does not wait for another one.
_LONG: Final = 1.0
_HEALTH = re.compile(r"\((healthy|unhealthy|health: starting)\)")
_EXITED = re.compile(r"Exited \((-?\d+)\)")
# Longer ones the Engine could not keep: each becomes the name of a file or a host.
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_SHORT_ID = re.compile(r"[0-9a-f]{4,64}")


def parse(entry: Mapping[str, Any]) -> Container:
    """One entry of the Engine's list."""
    status = str(entry.get("Status") or "")
    exited = _EXITED.match(status)
    names = sorted((entry.get("Names") or []), key=lambda name: name.count("/"))
    networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    return Container(
        id=entry["Id"],
        name=names[0].lstrip("/") if names else entry["Id"][:12],
        image=str(entry.get("Image") or ""),
        state=str(entry.get("State") or ""),
        status=status,
        health=_health(entry, status),
        created=datetime.fromtimestamp(int(entry.get("Created") or 0), UTC),
        exit_code=int(exited[1]) if exited else None,
        ports=published(entry.get("Ports") or []),
        networks=tuple(sorted(networks)),
        labels=entry.get("Labels") or {},
    )


def published(ports: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Published ports in Docker's notation: ``0.0.0.0:8080->80/tcp``, ``[::]:8080->80/tcp``."""
    found = sorted(
        {
            (int(p["PrivatePort"]), str(p.get("Type") or "tcp"), str(p.get("IP") or ""), int(p["PublicPort"]))
            for p in ports
            if p.get("PublicPort")
        }
    )
    return tuple(f"{_host(ip)}{public}->{private}/{kind}" for private, kind, ip, public in found)


def find(containers: Sequence[Container], ref: str) -> Container:
    """By full id, by name, by short id; see ``Engine.container`` for the errors."""
    check_ref(ref)
    for container in containers:
        if ref in (container.id, container.name):
            return container
    matches = [c for c in containers if c.id.startswith(ref)] if _SHORT_ID.fullmatch(ref) else []
    if len(matches) > 1:
        raise Invalid(f"More than one container's id begins with '{ref}'")
    if not matches:
        raise container_missing()
    return matches[0]


def check_ref(ref: str) -> str:
    """The id or name, if it can be one; it becomes a part of a path in the Engine's API."""
    if not _REF.fullmatch(ref):
        raise Invalid("A container is named by its id or its name")
    return ref


def container_missing() -> NotFound:
    """The error for a container that does not exist."""
    return NotFound("Container not found", code="CONTAINER_NOT_FOUND")


def container_stopped() -> Conflict:
    """The error for a container in which nothing can be run now."""
    return Conflict("The container is not running. Start it first.", code="CONTAINER_NOT_RUNNING")


def _host(ip: str) -> str:
    if not ip:
        return ""
    return f"[{ip}]:" if ":" in ip else f"{ip}:"


def _health(entry: Mapping[str, Any], status: str) -> str:
    told = entry.get("Health")  # newer Engines say it in a field of its own
    if isinstance(told, Mapping) and told.get("Status"):
        return str(told["Status"])
    match = _HEALTH.search(status)
    return match[1].removeprefix("health: ") if match else "none"


class _Query(Future[tuple[Container, ...]]):
    """One question to the Engine: who asks after it has begun may only share it when nothing happened."""

    generation = -1
    started = 0.0
    quiet = 0.0


class KeptContainers:
    """The Engine's list, asked for once and kept until an event or ``touch`` says that it changed.

    Every change raises a generation; an answer is kept, or shared with a later caller, only when
    its question was put in the current one. So what happens while a query runs is never lost.
    Callers that cannot share a running query share the next one, which begins after all of them.

    The Engine tells of a change before its list shows it: a tenth of a second for a container that
    ends, longer on a busy host. So an answer counts only for as long as it had been quiet when it
    was asked for; after a change the list is asked again at ever longer distances.
    """

    def __init__(
        self, ask: Callable[[], Sequence[Container]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._live = False
        self._generation = 0
        self._touched = clock()
        self._kept: tuple[_Query, tuple[Container, ...]] | None = None
        self._running: _Query | None = None
        self._next: _Query | None = None

    def touch(self) -> None:
        """What is kept, and what is being asked just now, may be out of date."""
        with self._lock:
            self._changed()

    def set_live(self, live: bool) -> None:
        """Whether every change from now on will be told by ``touch``."""
        with self._lock:
            self._live = live
            self._changed()

    def get(self, max_age: float) -> tuple[Container, ...]:
        """The list, at most ``max_age`` seconds old."""
        with self._lock:
            now, running = self._clock(), self._running
            if self._kept is not None and now - self._kept[0].started < min(max_age, self._kept[0].quiet):
                return self._kept[1]
            if running is not None and self._valid(running) and now - running.started < max_age:
                query, leads = running, False
            else:
                leads = self._next is None
                query = self._next = self._next or _Query()
        if leads:
            self._lead(query, running)
        return query.result()

    def _lead(self, query: _Query, previous: _Query | None) -> None:
        if previous is not None:
            failure = previous.exception()  # waits for its end, whatever that is
            if failure is not None and self._clock() - previous.started > _LONG:
                with self._lock:
                    self._next = None
                query.set_exception(failure)
                return
        with self._lock:
            self._next, self._running = None, query
            query.generation, query.started = self._generation, self._clock()
            query.quiet = query.started - self._touched
        try:
            answer = tuple(self._ask())
        except BaseException as exc:  # noqa: BLE001 - whatever it is, those who wait get it
            self._end(query)
            query.set_exception(exc)
            return
        self._end(query, answer)
        query.set_result(answer)

    def _end(self, query: _Query, answer: tuple[Container, ...] | None = None) -> None:
        with self._lock:
            self._running = None
            if answer is not None and self._valid(query):
                self._kept = (query, answer)

    def _valid(self, query: _Query) -> bool:
        return self._live and query.generation == self._generation

    def _changed(self) -> None:
        self._generation += 1
        self._touched = self._clock()
        self._kept = None
