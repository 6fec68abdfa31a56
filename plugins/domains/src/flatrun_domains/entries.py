"""Domain entries: what ``service.yml`` says of a deployment's domains, read one by one."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from flatrun_core.ports.deployments import Deployment
from flatrun_domains import rules

DEFAULT_ID: Final = "default"
DEFAULT_PORT: Final = 80
# A host and a path of it.
Pair = tuple[str, str]
# Of ids for entries that somebody wrote by hand without one: the same as long as host and path are.
_SPACE: Final = uuid.UUID("6d8cf7b8-0d3b-4c55-9a0c-0a5a9df1f0a1")


@dataclass(frozen=True, slots=True)
class Entry:
    """One domain of a deployment, checked; ``max_body`` is in bytes, ``timeout`` in seconds."""

    id: str
    service: str
    domain: str
    port: int
    path: str = "/"
    strip_prefix: bool = False
    timeout: int | None = None
    max_body: int | None = None
    tls: bool = False
    auto_cert: bool = False
    aliases: tuple[str, ...] = ()
    protocol: str = "http"

    @property
    def names(self) -> tuple[str, ...]:
        """The domain and its aliases."""
        return (self.domain, *self.aliases)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """What it takes: each name with the path."""
        return tuple((name, self.path) for name in self.names)


@dataclass(frozen=True, slots=True)
class Stored:
    """One entry as it stands in the file, canonical and with what it leaves out filled in.

    ``index`` is its place in ``domains``, None for the single domain of ``networking``. ``entry`` is
    None when it cannot be served, and ``problem`` says why.
    """

    id: str
    index: int | None
    values: Mapping[str, Any]
    entry: Entry | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a deployment says of its domains.

    ``exposed`` tells whether they are to be served, ``entries`` which of them can be.
    """

    exposed: bool = False
    stored: tuple[Stored, ...] = ()
    entries: tuple[Entry, ...] = ()
    services: frozenset[str] = field(default_factory=frozenset)


def read(deployment: Deployment) -> Reading:
    """The entries of a deployment whose ``service.yml`` can be read; never raises."""
    metadata = deployment.metadata or {}
    networking = metadata.get("networking") or {}
    services = frozenset(service.name for service in deployment.services)
    stored = []
    for one in _listed(metadata, networking):
        values = {**one.values, **_defaults(one.values, deployment, networking)}
        entry, problem = _checked(one.id, values, services, str(networking.get("protocol") or "http"))
        stored.append(Stored(one.id, one.index, values, entry, problem))
    entries = tuple(one.entry for one in stored if one.entry is not None)
    return Reading(bool(networking.get("expose")), tuple(stored), entries, services)


def service_port(deployment: Deployment, service: str) -> int:
    """The port a service listens on, as far as the files tell, else 80."""
    for known in deployment.services:
        if known.name == service:
            for text in known.ports:
                port = text.split("/")[0].rpartition(":")[2]
                if port.isdecimal():
                    return int(port)
    networking = (deployment.metadata or {}).get("networking") or {}
    return int((networking.get("service") == service and networking.get("container_port")) or DEFAULT_PORT)


def checked(values: Mapping[str, Any], entry_id: str, protocol: str = "http") -> Entry:
    """An entry of canonical values with service and port; raises ``ValueError`` naming the key."""
    path = _of("path", rules.path, str(values.get("path_prefix") or "/"))
    _of("strip_prefix", lambda strip: rules.strips(strip, path), bool(values.get("strip_prefix")))
    domain = _of("domain", rules.host, str(values.get("domain") or ""))
    aliases = tuple(_of("aliases", rules.host, str(alias)) for alias in values.get("aliases") or ())
    _of("aliases", _distinct, (domain, *aliases))
    body, ssl = values.get("max_body_size"), values.get("ssl") or {}
    tls = bool(ssl.get("enabled"))
    return Entry(
        id=entry_id,
        service=_of("service", rules.service, str(values["service"])),
        domain=domain,
        port=int(values["container_port"]),
        path=path,
        strip_prefix=bool(values.get("strip_prefix")),
        timeout=_of("proxy_timeout", _seconds, values.get("proxy_timeout")),
        max_body=_of("max_body_size", rules.size, str(body)) if body not in (None, "") else None,
        tls=tls,
        auto_cert=bool(ssl.get("auto_cert", tls)),
        aliases=aliases,
        protocol=protocol,
    )


def to_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Entries as they are kept in the database."""
    return [{**asdict(entry), "aliases": list(entry.aliases)} for entry in entries]


def from_json(rows: Sequence[Mapping[str, Any]]) -> tuple[Entry, ...]:
    """Entries from the database."""
    return tuple(Entry(**{**row, "aliases": tuple(row["aliases"])}) for row in rows)


def _listed(metadata: Mapping[str, Any], networking: Mapping[str, Any]) -> Iterator[Stored]:
    entries = metadata.get("domains") or ()
    if not entries and networking.get("domain"):
        yield Stored(DEFAULT_ID, None, _single(metadata, networking))
    used: set[str] = set()
    for index, values in enumerate(entries):
        entry_id = str(values.get("id") or "")
        if entry_id in used or not rules.ID.fullmatch(entry_id):
            entry_id = _made_up(values, used)
        used.add(entry_id)
        yield Stored(entry_id, index, values)


def _single(metadata: Mapping[str, Any], networking: Mapping[str, Any]) -> dict[str, Any]:
    """The one domain of ``networking`` as an entry."""
    return {
        "domain": networking["domain"],
        "service": networking.get("service") or "",
        "container_port": networking.get("container_port"),
        "ssl": dict(metadata.get("ssl") or {}),
    }


def _made_up(values: Mapping[str, Any], used: set[str]) -> str:
    name = f"{values.get('domain')}{values.get('path_prefix') or '/'}"
    while (found := str(uuid.uuid5(_SPACE, name))) in used:
        name += "+"
    return found


def _defaults(
    values: Mapping[str, Any], deployment: Deployment, networking: Mapping[str, Any]
) -> dict[str, Any]:
    service = values.get("service") or deployment.primary_service or networking.get("service") or ""
    port = values.get("container_port") or service_port(deployment, service)
    return {"service": service, "container_port": port}


def _checked(
    entry_id: str, values: Mapping[str, Any], services: frozenset[str], protocol: str
) -> tuple[Entry | None, str]:
    try:
        entry = checked(values, entry_id, protocol)
    except ValueError as exc:
        return None, str(exc)
    # Of a compose file that cannot be read nobody knows the services, and what runs is served on.
    if services and entry.service not in services:
        return None, f"the compose file has no service '{entry.service[:60]}'"
    return entry, ""


def _of(key: str, check: Any, value: Any) -> Any:
    try:
        return check(value)
    except ValueError as exc:
        raise ValueError(f"{key}: {exc}") from exc


def _seconds(value: Any) -> int | None:
    if value is None:
        return None
    if not 1 <= int(value) <= rules.MAX_TIMEOUT:
        raise ValueError(f"it has to be from 1 to {rules.MAX_TIMEOUT} seconds")
    return int(value)


def _distinct(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError("a name stands twice")
    if len(names) > rules.MAX_ALIASES + 1:
        raise ValueError(f"at most {rules.MAX_ALIASES} can be had")
