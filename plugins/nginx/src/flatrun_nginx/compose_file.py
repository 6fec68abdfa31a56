"""The compose project of nginx's container."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from flatrun_core.ports.docker import Project
from flatrun_nginx.environment import Environment
from flatrun_nginx.layout import Layout
from flatrun_nginx.rendering import signed
from flatrun_nginx.settings import NginxSettings

SERVICE: Final = "nginx"
FILE: Final = "docker-compose.yml"
PROBE: Final = ".probe.yml"
METADATA: Final = "service.yml"

# Labels of the container: a digest of all that it was made by, and the image as the settings named it.
MARK: Final = "flatrun.nginx.files"
IMAGE: Final = "flatrun.nginx.image"

# Each request is a connection of its own to its application, whose port the kernel keeps for a minute:
# with the usual 28,000 of them five hundred requests a second would use them up, and all would wait.
_SYSCTLS: Final = {"net.ipv4.ip_local_port_range": "1024 65535", "net.ipv4.tcp_tw_reuse": "1"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The files that make the container."""

    project: Project
    compose: str
    metadata: str = ""
    mark: str = ""


def project_name(container: str) -> str:
    """A compose project's name for a container's; lower case, as compose wants it."""
    name = re.sub(r"[^a-z0-9_-]", "-", container.lower())
    return name if name[0].isalnum() else f"n{name}"


def wanted(environment: Environment, conf_path: str, main: str) -> Wanted:
    """What the settings ask for; ``conf_path`` is the image's place for its main file, ``main`` its text."""
    settings, layout = environment.settings, environment.layout
    name = project_name(settings.container_name)
    mounts = [_mount(source, target) for source, target in layout.mounts().items()]
    service: dict[str, Any] = {
        "image": settings.image,
        "container_name": settings.container_name,
        "command": ["nginx", "-g", "daemon off;"],
        "restart": "unless-stopped",
        "ports": [_port(settings, 80, settings.http_port), _port(settings, 443, settings.https_port)],
        "volumes": [*mounts, _mount(layout.main, conf_path)],
        "networks": ["proxy"],
        "extra_hosts": ["host.docker.internal:host-gateway"],
        "sysctls": _SYSCTLS,
    }
    document = {
        "name": name,
        "services": {SERVICE: service},
        "networks": {"proxy": {"name": environment.network, "external": True}},
    }
    mark = hashlib.sha256(f"{_yaml(document)}{main}".encode()).hexdigest()[:16]
    service["labels"] = {MARK: mark, IMAGE: settings.image}
    metadata = {"name": settings.container_name, "type": "infrastructure"}
    return Wanted(project_of(layout, settings), _yaml(document), _yaml(metadata), mark)


def mounted(layout: Layout, conf_path: str) -> Mapping[str, str]:
    """The names of what is mounted, by their places in the container."""
    return {target: source.name for source, target in layout.mounts().items()} | {conf_path: layout.main.name}


def project_of(layout: Layout, settings: NginxSettings) -> Project:
    """The project as compose is told of it."""
    return Project(project_name(settings.container_name), layout.folder, (layout.folder / FILE,))


def probe(settings: NginxSettings, layout: Layout) -> Wanted:
    """A project that only runs the image's own programs, without any mount or network."""
    name = f"{project_name(settings.container_name)}-probe"
    service = {"image": settings.image, "network_mode": "none"}
    project = Project(name, layout.folder, (layout.folder / PROBE,))
    return Wanted(project, _yaml({"name": name, "services": {SERVICE: service}}))


def _port(settings: NginxSettings, target: int, published: int) -> dict[str, Any]:
    port: dict[str, Any] = {"target": target, "published": str(published), "protocol": "tcp", "mode": "host"}
    if settings.bind_address:
        port["host_ip"] = settings.bind_address
    return port


def _mount(source: Path, target: str) -> dict[str, Any]:
    # Compose would read a dollar sign as a variable.
    return {
        "type": "bind",
        "source": str(source).replace("$", "$$"),
        "target": target,
        "read_only": True,
    }


def _yaml(document: dict[str, Any]) -> str:
    return signed(yaml.safe_dump(document, sort_keys=False, default_flow_style=False))
