"""Who is asking, and what they may do: plain data that the core decides on."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flatrun_core.errors import Forbidden


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
    never one from a header.
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
    ``ADMIN`` on every deployment instead. ``claims`` carries a provider's own facts (user id,
    session id, key id) to its own views.
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
        """Whether the level on the deployment is held; what belongs to none needs no scope."""
        if deployment is None:
            return self.unscoped
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
    """The facts of a request that a recorder may keep; ``body`` is the parsed JSON or None."""

    request_id: str
    method: str
    path: str
    query: str
    action: str
    resource_type: str
    resource_id: str
    identity: Identity | None
    client_ip: str
    user_agent: str
    started: float
    mutation: bool
    body: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """How a recorded request ended."""

    status: int
    elapsed_ms: int
    error: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    resource_id: str = ""


class Recorder(Protocol):
    """Keeps a record of requests; both calls happen before the answer leaves."""

    name: str

    def begin(self, request: RecordedRequest) -> Any:
        """Admit a mutation, or raise to refuse it before anything has happened."""

    def finish(self, token: Any, request: RecordedRequest, outcome: RecordedOutcome) -> None:
        """Write the record; an exception makes the answer 500 ``AUDIT_FAILED``."""
