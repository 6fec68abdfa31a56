"""What the panel adds to a deployment: a compose file of its own beside the user's.

It is derived from ``service.yml`` and the routes alone, made anew before each action, and passed to
Compose last.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from flatrun_core.errors import Conflict
from flatrun_core.ports.docker import Project
from flatrun_core.yaml_writer import write_yaml
from flatrun_deployments.compose_file import network_name, networks_of
from flatrun_deployments.files import Unreadable, atomic_write, read_bytes, storage_errors
from flatrun_deployments.folder import OVERRIDE, Folder

FILENAME: Final = OVERRIDE
_HEAD: Final = "# Made by Flatrun from service.yml before each action; changes made here are lost.\n"
_MAX_SIZE: Final = 1 << 20
_NO_ENV: Final[Mapping[str, str]] = MappingProxyType({})


def alias(deployment: str, service: str) -> str:
    """The name by which the proxy reaches every replica of a service."""
    return f"{deployment}-{service}"


def render(folder: Folder, routed: Mapping[str, Sequence[str]], network: str) -> str | None:
    """The text of the panel's compose file, or None when there is nothing to add.

    ``routed`` are the services that the proxy reaches, with their aliases on ``network``; those
    unknown to the compose file, and those that cannot join networks, are left out. Networks of
    ``networking.networks`` in ``service.yml`` are joined by all.
    """
    if folder.compose.document is None:
        return None
    services: dict[str, dict[str, Any]] = {}
    published = _published(folder)
    if published and folder.primary:
        services[folder.primary] = {"ports": [published]}
    wanted = _wanted(folder, routed, network)
    keys = _network_keys(folder, [name for joined in wanted.values() for name in joined])
    for service, joined in wanted.items():
        services.setdefault(service, {})["networks"] = {
            **_kept_networks(folder, service),
            **{keys[name]: settings for name, settings in joined.items()},
        }
    if not services:
        return None
    content: dict[str, Any] = {"services": services}
    if keys:
        content["networks"] = {key: {"name": name, "external": True} for name, key in keys.items()}
    text = write_yaml(content)
    return _HEAD + text


def write_if_changed(folder: Folder, text: str | None) -> bool:
    """Write the panel's compose file, or remove it for None; whether anything changed.

    The next look at the folder sees it. Raises ``Failed`` as every write does.
    """
    try:
        before: bytes | None = read_bytes(folder.path, FILENAME, _MAX_SIZE)
    except FileNotFoundError:
        before = None
    except Unreadable:
        # Whatever stands there is not ours to pass to Compose; a write would not go through it.
        before = b""
    after = None if text is None else text.encode()
    if after == before:
        return False
    if after is not None and before is not None and not _is_plain(folder.override):
        _remove(folder.override)
    if after is None:
        _remove(folder.override)
    else:
        atomic_write(folder.override, after)
    return True


def project(folder: Folder, env: Mapping[str, str] = _NO_ENV) -> Project:
    """The compose project of a folder as it is on disk now.

    Files in order: the user's, the user's override, ours; of variables: the user's ``.env``, then
    ``.env.flatrun``. ``FLATRUN_UID`` and ``FLATRUN_GID`` are
    the panel's own, so that what containers write can be deleted again. Raises ``Conflict``
    ``COMPOSE_INVALID`` when a file cannot be used.
    """
    if folder.blocked:
        raise Conflict(f"Docker Compose cannot run '{folder.name}': {folder.blocked}", code="COMPOSE_INVALID")
    files = [folder.compose.path, folder.user_override]
    if folder.override.is_file():
        files.append(folder.override)
    return Project(
        name=folder.project,
        directory=folder.path,
        files=tuple(file for file in files if file is not None),
        env_files=folder.env_files,
        env={"FLATRUN_UID": str(os.getuid()), "FLATRUN_GID": str(os.getgid()), **env},
    )


def _published(folder: Folder) -> str | None:
    networking = folder.metadata["networking"] if folder.metadata else {}
    host_port = networking.get("host_port")
    return f"{host_port}:{networking['container_port']}" if host_port else None


def _wanted(
    folder: Folder, routed: Mapping[str, Sequence[str]], network: str
) -> dict[str, dict[str, dict[str, Any] | None]]:
    """The external networks that each service joins, by name, with what it says there."""
    networking = folder.metadata["networking"] if folder.metadata else {}
    wanted = {}
    for name, spec in folder.compose.services.items():
        joined: dict[str, dict[str, Any] | None] = dict.fromkeys(networking.get("networks") or ())
        if name in routed:
            joined[network] = {"aliases": list(routed[name])}
        # A service with a network mode, the host's for instance, cannot join others.
        if joined and not spec.network_mode:
            wanted[name] = joined
    return wanted


def _kept_networks(folder: Folder, service: str) -> dict[str, Any]:
    """Naming any network takes the default one away, so where it was meant it is named too."""
    document = folder.compose.document or {}
    return {"default": None} if networks_of(document["services"][service]) == ["default"] else {}


def _network_keys(folder: Folder, names: Sequence[str]) -> dict[str, str]:
    """The key of each network by name: the user's own where the file declares it, else one of ours."""
    document = folder.compose.document or {}
    declared = {
        network_name(key, document, folder.project, folder.env): key for key in document.get("networks") or {}
    }
    keys: dict[str, str] = {}
    for name in names:
        key = declared.get(name) or "flatrun_" + re.sub(r"[^A-Za-z0-9_-]", "_", name)
        while name not in declared and key in (*declared.values(), *(keys[n] for n in keys if n != name)):
            key += "_"
        keys[name] = key
    return keys


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _remove(path: Path) -> None:
    with storage_errors(path.name):
        path.unlink(missing_ok=True)
