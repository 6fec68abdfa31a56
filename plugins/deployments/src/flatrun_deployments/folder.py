"""One deployment's folder, read: everything the panel knows of it without Docker."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flatrun_deployments import env_file, service_yml
from flatrun_deployments.birth_time import birth_time
from flatrun_deployments.compose_file import CANDIDATES, OVERRIDES, ComposeFile, find
from flatrun_deployments.compose_yaml import MAX_TEXT
from flatrun_deployments.files import Unreadable, leaves, read_bytes
from flatrun_deployments.ports import Port, unique_texts
from flatrun_deployments.yaml_reader import YamlProblem

REMOVED_MARKER: Final = ".flatrun-removed"
CREATING_MARKER: Final = ".flatrun-creating"
OVERRIDE: Final = ".flatrun.override.yml"
USER_ENV: Final = ".env"

# In the order in which compose gets them: of a variable in both the last one counts.
VARIABLES: Final = (USER_ENV, env_file.FILENAME)

_BESIDE: Final = (service_yml.FILENAME, *VARIABLES)
_LAST_SECOND: Final = 253402300799.0

Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Planned:
    """A service as the files describe it, ready to be joined with its containers."""

    name: str
    image: str
    ports: tuple[str, ...]
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Folder:
    """A deployment on disk; the same object again as long as nothing in it has changed.

    ``problem`` says why compose file, metadata or variables cannot be used, ``blocked`` the part of
    it that keeps Compose from running; ``metadata`` is None only when ``service.yml`` itself cannot
    be read. ``override`` is where the panel's own compose file stands, if there is one. ``env_files``
    are the files of variables, the user's own ``.env`` first, and ``env`` what they say together.
    """

    name: str
    path: Path
    compose: ComposeFile
    metadata: Mapping[str, Any] | None
    problem: str
    blocked: str
    created_at: datetime
    updated_at: datetime
    has_service_yml: bool
    override: Path
    user_override: Path | None
    env_files: tuple[Path, ...]
    primary: str | None
    services: tuple[Planned, ...]
    host_ports: frozenset[tuple[int, str]]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def project(self) -> str:
        """The compose project."""
        return self.compose.project_name


@dataclass(frozen=True, slots=True)
class Raw:
    """What a folder holds, as bytes; a text instead of bytes says why a file cannot be read."""

    path: Path
    compose_name: str
    files: Mapping[str, bytes | str]
    user_override: str | None
    links_out: tuple[str, ...]
    created: float
    updated_ns: int
    signatures: Mapping[str, Signature | None] = field(compare=False)


def signature(status: os.stat_result) -> Signature:
    """What tells that a file was replaced or written: nobody can set the change time back."""
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def moment(seconds: float) -> datetime:
    """A file's time; file systems know years that Python does not."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LAST_SECOND), UTC)


def has_marker(path: Path) -> bool:
    """Whether the folder was removed through the panel, or is still being made."""
    return os.path.lexists(path / REMOVED_MARKER) or os.path.lexists(path / CREATING_MARKER)


def gather(path: Path) -> Raw | None:
    """The bytes of a folder, or None when it has no compose file. Never waits on odd files.

    Raises ``OSError`` when the folder cannot be looked into, ``FileNotFoundError`` when something
    vanished in between.
    """
    compose_name = _compose_name(path)
    if compose_name is None:
        return None
    made = birth_time(os.fspath(path)) or path.stat().st_mtime
    present = [name for name in _BESIDE if os.path.lexists(path / name)]
    if USER_ENV in present and (path / USER_ENV).is_dir():
        # A virtual environment, perhaps; compose passes it over too.
        present.remove(USER_ENV)
    names = [compose_name, *present]
    signatures = {name: _signature(path / name) for name in names}
    user_override = None
    if compose_name in CANDIDATES:
        user_override = next((name for name in OVERRIDES if os.path.lexists(path / name)), None)
    return Raw(
        path=path,
        compose_name=compose_name,
        files={name: _content(path, name) for name in names},
        user_override=user_override,
        links_out=tuple(name for name in (user_override, OVERRIDE) if name and leaves(path, name)),
        created=made,
        updated_ns=max((_changed_ns(path / name, known) for name, known in signatures.items()), default=0),
        signatures=signatures,
    )


def build(raw: Raw) -> Folder:
    """The folder that the bytes describe; never raises, problems are part of it."""
    path, name = raw.path, raw.path.name
    env, env_problem = _env(raw)
    compose = _compose(raw, env)
    metadata, metadata_problem = _metadata(raw, name, compose)
    links = [f"{link} is a link that leaves the deployment's folder" for link in raw.links_out]
    blocked = "; ".join(filter(None, (compose.problem, env_problem, *links)))
    created = moment(raw.created)
    if metadata and metadata["created_at"]:
        created = datetime.fromisoformat(metadata["created_at"])
    networking = metadata["networking"] if metadata else {}
    primary = compose.primary(networking.get("service", ""))
    host_port = networking.get("host_port")
    return Folder(
        name=name,
        path=path,
        compose=compose,
        metadata=metadata,
        problem="; ".join(filter(None, (blocked, metadata_problem))),
        blocked=blocked,
        created_at=created,
        updated_at=moment(raw.updated_ns / 1e9) if raw.updated_ns else created,
        has_service_yml=service_yml.FILENAME in raw.files,
        override=path / OVERRIDE,
        user_override=path / raw.user_override if raw.user_override else None,
        env_files=tuple(path / name for name in VARIABLES if name in raw.files),
        primary=primary,
        services=_planned(compose, primary, networking),
        host_ports=compose.published | ({(host_port, "tcp")} if host_port else set()),
        env=env,
    )


def _planned(compose: ComposeFile, primary: str | None, networking: Mapping[str, Any]) -> tuple[Planned, ...]:
    planned = []
    for spec in compose.services.values():
        ports = (*spec.ports, *spec.expose)
        if spec.name == primary and networking.get("host_port"):
            ports = (Port(str(networking["container_port"]), str(networking["host_port"])), *ports)
        image = spec.image or f"{compose.project_name}-{spec.name}"
        planned.append(Planned(spec.name, image, unique_texts(ports), spec.networks))
    return tuple(planned)


def _compose(raw: Raw, env: Mapping[str, str]) -> ComposeFile:
    path = raw.path / raw.compose_name
    content = raw.files[raw.compose_name]
    if isinstance(content, str):
        return ComposeFile.unusable(path, content)
    try:
        return ComposeFile.parse(path, content.decode(), env)
    except UnicodeDecodeError:
        return ComposeFile.unusable(path, f"{path.name} is not UTF-8", content.decode(errors="replace"))


def _metadata(raw: Raw, name: str, compose: ComposeFile) -> tuple[dict[str, Any] | None, str]:
    content = raw.files.get(service_yml.FILENAME, b"")
    if isinstance(content, str):
        return None, content
    try:
        return service_yml.read(content.decode(), name, compose), ""
    except UnicodeDecodeError:
        return None, f"{service_yml.FILENAME} is not UTF-8"
    except YamlProblem as exc:
        return None, f"{service_yml.FILENAME} cannot be read: {exc}"


def _env(raw: Raw) -> tuple[dict[str, str], str]:
    values: dict[str, str] = {}
    problems = []
    for name in VARIABLES:
        content = raw.files.get(name, b"")
        if isinstance(content, str):
            problems.append(content)
        else:
            values.update(env_file.parse(content.decode(errors="surrogateescape")))
    return values, "; ".join(problems)


def _compose_name(path: Path) -> str | None:
    usual = [name for name in CANDIDATES if os.path.lexists(path / name)]
    regular = next((name for name in usual if _is_regular(path / name)), None)
    if regular:
        return regular
    with os.scandir(path) as entries:
        other = find(entry.name for entry in entries if entry.name not in CANDIDATES and _is_file(entry))
    # Something that is no file, or a link to nowhere, is shown as broken instead of hidden.
    return other or next(iter(usual), None)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return "compose" in entry.name and entry.is_file()
    except OSError:
        return False


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _signature(path: Path) -> Signature | None:
    try:
        return signature(path.stat())
    except OSError:
        return None


def _changed_ns(path: Path, known: Signature | None) -> int:
    # Of a link that leaves only its own time counts: what is outside is none of the folder's.
    if leaves(path.parent, path.name):
        return path.lstat().st_mtime_ns
    return known[2] if known else 0


def _content(path: Path, name: str) -> bytes | str:
    limit = service_yml.MAX_SIZE if name == service_yml.FILENAME else MAX_TEXT
    try:
        return read_bytes(path, name, limit)
    except FileNotFoundError:
        if os.path.lexists(path / name):
            return f"{name} is a link to nowhere"
        raise
    except Unreadable as exc:
        return exc.reason
