"""What the panel has to know of a compose file; running it is Docker's business."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from flatrun_core.errors import Invalid
from flatrun_deployments.compose_yaml import parse
from flatrun_deployments.interpolation import interpolate
from flatrun_deployments.ports import Port, read_expose, read_ports

CANDIDATES: Final = ("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml")
OVERRIDES: Final = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
DEFAULT_PORT: Final = 80

_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SERVICE: Final = re.compile(r"[A-Za-z0-9._-]+")
_NO_ENV: Final[Mapping[str, str]] = MappingProxyType({})


def find(entries: Iterable[str]) -> str | None:
    """The compose file among the names of a folder, or None.

    The four usual names win in their order, then the first by name of ``*compose*.yml|yaml``.
    Override files and hidden ones are never it.
    """
    names = set(entries)
    usual = next((name for name in CANDIDATES if name in names), None)
    return usual or min(filter(_is_compose_name, names), default=None)


def project_name(directory: str) -> str:
    """The compose project of a folder whose file has no ``name``, as Compose derives it."""
    return re.sub(r"[^a-z0-9_-]", "", directory.lower()).lstrip("_-")


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service as the file describes it; ``networks`` are names as Docker knows them."""

    name: str
    image: str = ""
    build: bool = False
    ports: tuple[Port, ...] = ()
    expose: tuple[Port, ...] = ()
    networks: tuple[str, ...] = ()
    network_mode: str = ""

    @property
    def container_port(self) -> int | None:
        """The first of ``expose``, else the target of the first of ``ports``, as far as known."""
        return next((port.target_port for port in (*self.expose, *self.ports) if port.target_port), None)


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """A compose file; with a ``problem`` it has no ``document`` and no services.

    ``text`` is what the file holds, character for character; ``document`` is not to be changed.
    """

    path: Path
    text: str = field(repr=False)
    project_name: str
    document: Mapping[str, Any] | None = field(default=None, repr=False)
    problem: str = ""
    services: Mapping[str, ServiceSpec] = field(default_factory=dict)

    @classmethod
    def parse(cls, path: Path, text: str, env: Mapping[str, str] = _NO_ENV) -> "ComposeFile":
        """Read a text; never raises. ``env`` is what Compose will find for variables."""
        project = project_name(path.parent.name)
        try:
            document = parse(text)
            _check_services(document)
            project = _project(document, project, env)
        except Invalid as exc:
            return cls(path, text, project, problem=exc.message)
        services = {
            name: _spec(name, service, project, document, env)
            for name, service in (document.get("services") or {}).items()
        }
        return cls(path, text, project, document, services=services)

    @classmethod
    def unusable(cls, path: Path, problem: str, text: str = "") -> "ComposeFile":
        """A file that cannot even be read as text."""
        return cls(path, text, project_name(path.parent.name), problem=problem)

    @property
    def images(self) -> tuple[str, ...]:
        """The images that services name, each once."""
        return tuple(dict.fromkeys(spec.image for spec in self.services.values() if spec.image))

    @property
    def published(self) -> frozenset[tuple[int, str]]:
        """The host ports with their protocols, as far as the file tells."""
        ports = (port for spec in self.services.values() for port in spec.ports)
        return frozenset((number, port.protocol) for port in ports for number in port.host_ports)

    def primary(self, service: str = "") -> str | None:
        """The main service: the named one, ``app``, ``web``, the first with ports, the first."""
        for name in (service, "app", "web"):
            if name in self.services:
                return name
        with_ports = (spec.name for spec in self.services.values() if spec.ports or spec.expose)
        return next(with_ports, next(iter(self.services), None))

    def container_port(self, service: str | None) -> int | None:
        """The port a service listens on, as far as the file tells."""
        spec = self.services.get(service or "")
        return spec.container_port if spec else None


def check_new(text: str, name: str, proxy_network: str) -> Mapping[str, Any]:
    """The document of a compose text that a deployment may be created from.

    Everything that can be judged without Docker; raises ``Invalid`` ``COMPOSE_INVALID``.
    """
    document = parse(text)
    _check_services(document)
    if not document.get("services"):
        raise _invalid("The compose file names no service")
    for service, spec in document["services"].items():
        if not (spec.get("image") or spec.get("build") or spec.get("extends")):
            raise _invalid(f"The service '{_short(service)}' has neither image nor build")
    if document.get("name", name) != name:
        raise _invalid(f"The compose file's name has to be '{name}', the deployment's, or be left out")
    for key, network in _networks(document).items():
        if proxy_network in (key, network.get("name")) and network.get("external") in (None, False):
            raise _invalid(f"The network '{_short(key)}' is the proxy's and has to be external")
    return document


def network_name(
    key: str, document: Mapping[str, Any], project: str, env: Mapping[str, str] = _NO_ENV
) -> str:
    """The name Docker knows a network of the file by."""
    network = _networks(document).get(key, {})
    external = network.get("external")
    name = network.get("name") or (external.get("name") if isinstance(external, dict) else None)
    if isinstance(name, str):
        return interpolate(name, env) or name
    return key if external not in (None, False) else f"{project}_{key}"


def networks_of(service: Mapping[str, Any]) -> list[str]:
    """The keys of the networks a service joins, ``default`` when it says nothing."""
    if service.get("network_mode"):
        return []
    declared = service.get("networks")
    if isinstance(declared, (dict, list)) and declared:
        return [key for key in declared if isinstance(key, str)]
    return ["default"]


def _is_compose_name(name: str) -> bool:
    return (
        "compose" in name
        and name.endswith((".yml", ".yaml"))
        and not name.startswith(".")
        and ".override." not in name
    )


def _invalid(message: str) -> Invalid:
    return Invalid(message, code="COMPOSE_INVALID")


def _short(text: str) -> str:
    return text[:60]


def _check_services(document: Mapping[str, Any]) -> None:
    services = document.get("services")
    # A file that only includes others may have no services of its own.
    if services is None and document.get("include"):
        return
    if not isinstance(services, dict) or not services:
        raise _invalid("The compose file names no service")
    for name, service in services.items():
        if not _SERVICE.fullmatch(name):
            raise _invalid(f"'{_short(name)}' is not the name of a service")
        if not isinstance(service, dict):
            raise _invalid(f"The service '{_short(name)}' is not a mapping")
    if not isinstance(document.get("networks"), (dict, type(None))):
        raise _invalid("The networks of the compose file are not a mapping")


def _project(document: Mapping[str, Any], default: str, env: Mapping[str, str]) -> str:
    name = document.get("name")
    if name is None:
        return default
    known = interpolate(name, env) if isinstance(name, str) else None
    if known is None or not _PROJECT.fullmatch(known):
        raise _invalid("The compose file's name is not the name of a project")
    return known


def _networks(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    declared = document.get("networks") or {}
    return {key: value if isinstance(value, dict) else {} for key, value in declared.items()}


def _spec(
    name: str, service: Mapping[str, Any], project: str, document: Mapping[str, Any], env: Mapping[str, str]
) -> ServiceSpec:
    image = service.get("image")
    text = image if isinstance(image, str) else ""
    mode = service.get("network_mode")
    return ServiceSpec(
        name,
        image=interpolate(text, env) or text,
        build=bool(service.get("build")),
        ports=read_ports(service.get("ports"), env),
        expose=read_expose(service.get("expose"), env),
        networks=tuple(network_name(key, document, project, env) for key in networks_of(service)),
        network_mode=mode if isinstance(mode, str) else "",
    )
