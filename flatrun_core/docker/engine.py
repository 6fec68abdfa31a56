"""The Engine's door: reads with short limits, actions with the container's own, a list kept current."""

import contextlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from flatrun_core.docker.client import EngineClient, RefusedError, refusals
from flatrun_core.docker.containers import (
    KeptContainers,
    check_ref,
    container_missing,
    container_stopped,
    find,
    parse,
)
from flatrun_core.docker.inside import run_inside
from flatrun_core.docker.logs import MAX_LINES, ContainerLog, LogParser, newest, since_parameter
from flatrun_core.docker.refusals import engine_refusal
from flatrun_core.errors import Conflict, Failed, FlatrunError, Invalid, NotFound
from flatrun_core.ports.docker import (
    PROJECT_LABEL,
    Container,
    Engine,
    EngineEvent,
    EngineInfo,
    LogLine,
    LogStream,
)
from flatrun_core.ports.programs import Completed
from flatrun_core.program_output import check_arguments

logger = logging.getLogger(__name__)

_INFO_AGE: Final = 60.0
_STATS_TIMEOUT: Final = 15.0
_ACTION_TIMEOUT: Final = 60.0
_LONGEST_STOP: Final = 600.0
_BAD, _MISSING, _CONFLICT = 400, 404, 409
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_IMAGE = re.compile(r"[A-Za-z0-9][\w.:@-]*(?:/[A-Za-z0-9][\w.:@-]*)*", re.ASCII)


class DockerEngine(Engine):
    """The Engine at ``client``'s host. Constructing it asks nothing; ``close`` drops its connections.

    A ``Watcher`` makes the event stream live; without one, every ``containers()`` asks the Engine.
    """

    def __init__(self, client: EngineClient | None = None) -> None:
        self.client = client or EngineClient()
        self._kept = KeptContainers(self._ask_containers)
        self._listeners: tuple[Callable[[EngineEvent], None], ...] = ()
        self._lock = threading.Lock()
        self._network_lock = threading.Lock()
        self._info: tuple[float, EngineInfo] | None = None

    def close(self) -> None:
        """Drop the connections that are kept open; the next call makes new ones."""
        self.client.forget()

    def info(self) -> EngineInfo:
        """Version and host facts, cached for a minute and until the event stream breaks."""
        kept = self._info
        if kept is not None and time.monotonic() - kept[0] < _INFO_AGE:
            return kept[1]
        with refusals():
            raw = self.client.request("GET", "/info")
        info = EngineInfo(
            version=str(raw.get("ServerVersion", "")),
            api_version=self.client.api_version,
            cgroup_version=str(raw.get("CgroupVersion") or "1"),
            cgroup_driver=str(raw.get("CgroupDriver", "")),
            root=str(raw.get("DockerRootDir", "")),
            cpus=int(raw.get("NCPU", 0)),
            memory=int(raw.get("MemTotal", 0)),
            raw=raw,
        )
        self._info = (time.monotonic(), info)
        return info

    def containers(self, *, max_age: float = 60.0) -> Sequence[Container]:
        """Every container; see the port. Callers at the same time share one query."""
        return self._kept.get(max_age)

    def touch(self) -> None:
        """Forget the kept list."""
        self._kept.touch()

    def settle(self, project: str) -> None:
        """Return when the list shows what was just done to a compose project's containers.

        An Engine says that a container has stopped before its list does. It keeps the container
        locked until then, and inspecting waits for that lock.
        """
        label = {"label": [f"{PROJECT_LABEL}={project}"]}
        params = {"all": "1", "filters": json.dumps(label)}
        with contextlib.suppress(FlatrunError, RefusedError):
            for entry in self.client.request("GET", "/containers/json", params=params) or ():
                self.inspect(entry["Id"])
        self.touch()

    def container(self, ref: str) -> Container:
        """By id or name. What the kept list lacks is looked for once more in a new one."""
        check_ref(ref)
        try:
            return find(self.containers(), ref)
        except NotFound:
            return find(self.containers(max_age=0.0), ref)

    def start(self, container_id: str) -> None:
        """Start it."""
        self._act(container_id, "start", _ACTION_TIMEOUT)

    def stop(self, container_id: str) -> None:
        """Stop it; waits for its own grace period and half a minute more."""
        self._act(container_id, "stop", self._stop_limit(container_id))

    def restart(self, container_id: str) -> None:
        """Restart it."""
        self._act(container_id, "restart", self._stop_limit(container_id) + _ACTION_TIMEOUT)

    def remove(self, container_id: str) -> None:
        """Remove it; its anonymous volumes stay."""
        try:
            self.client.request("DELETE", f"/containers/{check_ref(container_id)}", timeout=_ACTION_TIMEOUT)
        except RefusedError as exc:
            if exc.status != _CONFLICT:
                raise _container_refusal(exc) from exc
            if "already in progress" not in exc.message:
                text = "The container is running. Stop it first."
                raise Conflict(text, code="CONTAINER_RUNNING") from exc
        finally:
            self.touch()

    def logs(
        self,
        container_id: str,
        *,
        tail: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[LogLine]:
        """Lines so far; see the port. At most 10,000 lines and 16 MiB of them, the newest."""
        params = {**since_parameter("since", since), **since_parameter("until", until)}
        stream, parser = self._open_log(container_id, tail=newest(tail), endless=False, **params)
        return parser.collect(stream, newest(tail))

    def follow(self, container_id: str, *, since: str | None = None) -> LogStream:
        """Live lines. Iteration raises ``DockerUnavailable`` when the Engine goes while it runs."""
        params = since_parameter("since", since, after=True)
        # With a number the Engine reads a file from its end, not through all of it.
        tail = MAX_LINES if since else 0
        return ContainerLog(*self._open_log(container_id, tail=tail, endless=True, follow="1", **params))

    def inspect(self, container_id: str) -> Mapping[str, Any]:
        """The Engine's document of a container."""
        found: Mapping[str, Any] = self._of_container("GET", container_id, "/json")
        return found

    def stats(self, container_id: str) -> Mapping[str, Any]:
        """The Engine's statistics of a container."""
        params = {"stream": "false"}
        found: Mapping[str, Any] = self._of_container(
            "GET", container_id, "/stats", params=params, timeout=_STATS_TIMEOUT
        )
        return found

    def exec(self, container_id: str, args: Sequence[str], *, timeout: float) -> Completed:
        """Run a program in a container; see the port."""
        check_arguments(args)
        try:
            return run_inside(self.client, check_ref(container_id), tuple(args), timeout)
        except RefusedError as exc:
            if exc.status == _CONFLICT or "no such exec" in exc.message.lower():
                raise container_stopped() from exc
            raise _container_refusal(exc) from exc

    def networks(self) -> Mapping[str, Mapping[str, Any]]:
        """Networks by name."""
        with refusals():
            return {str(entry["Name"]): entry for entry in self.client.request("GET", "/networks") or ()}

    def ensure_network(self, name: str) -> bool:
        """Make a bridge network when missing."""
        _check_name(name)
        with self._network_lock:  # older Engines make two of one name when asked at once
            if name in self.networks():
                return False
            body = {"Name": name, "Driver": "bridge", "CheckDuplicate": True}
            try:
                self.client.request("POST", "/networks/create", body=body, timeout=_ACTION_TIMEOUT)
            except RefusedError as exc:
                if exc.status == _CONFLICT:  # made by somebody else just now
                    return False
                raise engine_refusal(exc.message) from exc
        return True

    def connect_network(self, network: str, container_id: str, aliases: Sequence[str]) -> None:
        """Connect a container under further names."""
        body = {"Container": check_ref(container_id), "EndpointConfig": {"Aliases": list(aliases)}}
        try:
            path = f"/networks/{_check_name(network)}/connect"
            self.client.request("POST", path, body=body, timeout=_ACTION_TIMEOUT)
        except RefusedError as exc:
            if "already exists in network" in exc.message or "already attached to network" in exc.message:
                return
            raise _network_refusal(exc) from exc
        finally:
            self.touch()

    def remove_network(self, name: str) -> None:
        """Remove a network; one that containers use is 409 ``NETWORK_IN_USE``."""
        try:
            self.client.request("DELETE", f"/networks/{_check_name(name)}", timeout=_ACTION_TIMEOUT)
        except RefusedError as exc:
            if exc.status == _MISSING:
                return
            raise _network_refusal(exc) from exc

    def volumes(self, project: str) -> list[str]:
        """Names of a compose project's volumes, sorted."""
        params = {"filters": json.dumps({"label": [f"{PROJECT_LABEL}={project}"]})}
        with refusals():
            found = self.client.request("GET", "/volumes", params=params)
        return sorted(str(volume["Name"]) for volume in found.get("Volumes") or ())

    def image_exists(self, ref: str) -> bool:
        """Whether the image is on the host; what cannot be an image's name is not."""
        if not _IMAGE.fullmatch(ref):
            return False
        try:
            self.client.request("GET", f"/images/{ref}/json")
        except RefusedError as exc:
            if exc.status in (_BAD, _MISSING):
                return False
            raise engine_refusal(exc.message) from exc
        return True

    def subscribe(self, listener: Callable[[EngineEvent], None]) -> Callable[[], None]:
        """Call ``listener`` for each event until the returned function is called."""
        entry = partial(listener)  # an object of its own: one listener may subscribe twice
        with self._lock:
            self._listeners = (*self._listeners, entry)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not entry)

        return unsubscribe

    def publish(self, event: EngineEvent) -> None:
        """Hand an event to every listener; for the watcher."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("A listener failed at the Engine's event %s", event.action)

    def set_live(self, live: bool) -> None:
        """Whether events arrive from here on; for the watcher."""
        self._kept.set_live(live)
        if not live:
            self._info = None
            self.client.forget()

    def _ask_containers(self) -> Sequence[Container]:
        with refusals():
            entries = self.client.request("GET", "/containers/json", params={"all": "1"})
        return [parse(entry) for entry in entries or ()]

    def _act(self, container_id: str, action: str, timeout: float) -> None:
        try:
            self._of_container("POST", container_id, f"/{action}", timeout=timeout)
            with contextlib.suppress(FlatrunError):  # one that removes itself at its end is gone
                self.inspect(container_id)  # see settle
        finally:
            self.touch()

    def _stop_limit(self, container_id: str) -> float:
        grace = (self.inspect(container_id).get("Config") or {}).get("StopTimeout")
        seconds = 10.0 if grace is None else float(grace)
        return min(seconds, _LONGEST_STOP) + 30.0 if seconds >= 0 else _LONGEST_STOP

    def _of_container(self, method: str, container_id: str, path: str, **options: Any) -> Any:
        try:
            return self.client.request(method, f"/containers/{check_ref(container_id)}{path}", **options)
        except RefusedError as exc:
            raise _container_refusal(exc) from exc

    def _open_log(self, container_id: str, *, endless: bool, **params: Any) -> tuple[Any, LogParser]:
        document = self.inspect(container_id)
        parser = LogParser(tty=bool(document["Config"].get("Tty")))
        wanted = {"stdout": "1", "stderr": "1", "timestamps": "1", **params}
        try:
            path = f"/containers/{document['Id']}/logs"
            return self.client.stream(path, params=wanted, endless=endless), parser
        except RefusedError as exc:
            if "does not support reading" in exc.message:
                driver = document["HostConfig"]["LogConfig"].get("Type") or "none"
                text = f"The container's logging driver '{driver}' keeps no log that can be read"
                raise Failed(text, code="LOGS_UNAVAILABLE") from exc
            raise _container_refusal(exc) from exc


def _container_refusal(exc: RefusedError) -> FlatrunError:
    if exc.status == _MISSING and "no such container" in exc.message.lower():
        return container_missing()
    return engine_refusal(exc.message)


def _network_refusal(exc: RefusedError) -> FlatrunError:
    if "has active endpoints" in exc.message:
        return Conflict("The network is in use by containers", code="NETWORK_IN_USE")
    if exc.status == _MISSING and "network" in exc.message.lower():
        return NotFound("Network not found", code="NETWORK_NOT_FOUND")
    return _container_refusal(exc)


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid("This cannot be the name of a network")
    return name
