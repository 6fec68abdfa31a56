"""Who is asking, and what they may do: plain data that the core decides on."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flatrun_core.errors import Forbidden
from flatrun_core.services import ServiceKey


class Level(enum.IntEnum):
    """Access to one deployment; each level includes the lower ones."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought to prove who it is.

    ``scheme`` is ``bearer``, ``apikey`` or ``none``; ``headers`` are the request's, for providers
    that authenticate by a header of a configured proxy, and ``peer`` is the TCP peer's address,
    never one from a header; of the panel's own socket it is the word ``unix``.
    """

    scheme: str
    token: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    peer: str
    client_ip: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as the audit names them: ``type`` is user, api_key, system or anonymous."""

    type: str
    id: str = ""
    name: str = ""
    key_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated actor with everything needed to decide.

    ``permissions`` None means all. ``grants`` maps deployment names to levels; ``unscoped`` gives
    ``ADMIN`` on every deployment instead. ``role`` is admin, operator or viewer where the provider
    has roles. ``claims`` carries a provider's own facts (user id, session id, key id) to its views.
    """

    actor: Actor
    role: str = ""
    permissions: frozenset[str] | None = frozenset()
    grants: Mapping[str, Level] = field(default_factory=dict)
    unscoped: bool = False
    may_create: bool = True
    expires_at: Any = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def has(self, permission: str) -> bool:
        """Whether the permission is held."""
        return self.permissions is None or permission in self.permissions

    def level(self, deployment: str) -> Level | None:
        """The level on a deployment, existing or not; None without access."""
        return Level.ADMIN if self.unscoped else self.grants.get(deployment)

    def can(self, level: Level, deployment: str | None) -> bool:
        """Whether the level on the deployment is held; what belongs to none is for unscoped admins."""
        if deployment is None:
            return self.unscoped and self.role == "admin"
        held = self.level(deployment)
        return held is not None and held >= level

    def need(self, level: Level, deployment: str | None) -> None:
        """Raise 403 ``DEPLOYMENT_FORBIDDEN`` unless the level is held."""
        if not self.can(level, deployment):
            raise Forbidden("No access to this deployment", code="DEPLOYMENT_FORBIDDEN")

    def need_permission(self, permission: str) -> None:
        """Raise 403 ``PERMISSION_DENIED`` unless the permission is held."""
        if not self.has(permission):
            raise Forbidden(f"Permission denied: {permission} required")


SYSTEM = Identity(Actor("system", "flatrun", "flatrun"), role="admin", permissions=None, unscoped=True)


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission and the roles that hold it; admin always does."""

    name: str
    description: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownPermission:
    """A permission of an active plugin; ``plugin`` is the one whose routes it guards, or its first."""

    name: str
    description: str
    roles: tuple[str, ...]
    plugin: str


class PermissionCatalogue(Protocol):
    """Every permission that the core and the active plugins registered; the same as long as it runs."""

    def known(self) -> "Mapping[str, KnownPermission]":
        """All, by name and in the order of names; each one's ``roles`` always has admin."""

    def of_role(self, role: str) -> frozenset[str]:
        """Names that a role holds; empty for a role that nobody names."""


PERMISSIONS: ServiceKey[PermissionCatalogue] = ServiceKey("permissions", "core")


@dataclass(frozen=True, slots=True)
class Access:
    """What one method of a view requires.

    ``kind`` is ``permission``, ``authenticated``, ``internal`` or ``public``. ``permissions`` are
    all needed unless ``any_of``. ``level`` is checked on the route's ``name``, or on what
    ``deployment`` (a callable on the view arguments) answers.
    """

    kind: str
    permissions: tuple[str, ...] = ()
    any_of: bool = False
    level: Level | None = None
    deployment: Any = None
    action: str = ""
    resource: str = ""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """The facts of a request that a recorder may keep.

    ``body`` is the parsed JSON of an admitted mutation, or None. ``actor`` is the identity's, or
    whom a public view named (a login's user); anonymous without. ``route`` is the path with its
    parameters unfilled; ``secret`` tells that the route answers secrets. ``started`` is in seconds
    since the epoch.
    """

    request_id: str
    method: str
    path: str
    route: str
    query: str
    action: str
    resource_type: str
    resource_id: str
    actor: Actor
    identity: Identity | None
    client_ip: str
    user_agent: str
    started: float
    mutation: bool
    secret: bool = False
    body: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """How a recorded request ended."""

    status: int
    elapsed_ms: int
    error: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    resource_id: str = ""


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """Something worth a record that is no request: a timer's work, a command on the host.

    ``metadata`` holds no secrets; nothing looks for them there.
    """

    action: str
    resource_type: str
    resource_id: str = ""
    actor: Actor = SYSTEM.actor
    error: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Recorder(Protocol):
    """Keeps a record; the first two calls happen before a request's answer leaves."""

    name: str

    def begin(self, request: RecordedRequest) -> Any:
        """Admit a mutation, or raise to refuse it before anything has happened."""

    def finish(self, token: Any, request: RecordedRequest, outcome: RecordedOutcome) -> None:
        """Write the record; an exception makes the answer 500 ``AUDIT_FAILED``."""

    def note(self, event: RecordedEvent) -> None:
        """Write an event that is no request; an exception goes to whoever does the work."""


class Record(Protocol):
    """Where work outside requests is written down, in every recorder there is."""

    def write(self, event: RecordedEvent) -> None:
        """Write before, or together with, what the event tells of; raises when it cannot be written."""


RECORD: ServiceKey[Record] = ServiceKey("record", "core")
