"""Who may touch which deployment, and what becomes of that when deployments come and go."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flatrun_core import Level, NotFound, PluginContext, ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.deployments import DEPLOYMENTS, Draft, Part, Removal, RemovedItem
from flatrun_core.ports.storage import DATABASE
from flatrun_users import bounds
from flatrun_users.accounts import existing
from flatrun_users.caller import caller_of
from flatrun_users.key_ends import end_limited_to
from flatrun_users.models import Grant
from flatrun_users.sessions import SESSIONS

LEVELS: Final = tuple(level.name.lower() for level in Level)


@dataclass(frozen=True, slots=True)
class Access:
    """One deployment that a user was given."""

    deployment_name: str
    access_level: str
    granted_by: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Holder:
    """One user who was given a deployment."""

    user_id: int
    username: str
    email: str
    role: str
    access_level: str
    granted_by: int | None
    created_at: datetime


class Grants:
    """Gives and takes access. Safe to call from any thread."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._database = ctx.services.get(DATABASE)
        self._sessions = ctx.services.get(SESSIONS)

    def of_user(self, identity: Identity, user_id: int) -> list[Access]:
        """What a user was given, as far as the caller may read it; 404 ``USER_NOT_FOUND``."""
        with self._database.session():
            existing(user_id)
            return list(readable_access(identity, user_id))

    def of_deployment(self, name: str) -> list[Holder]:
        """Who was given a deployment; 404 ``DEPLOYMENT_NOT_FOUND``."""
        check_deployment(self._ctx, name)
        with self._database.session():
            return [_holder(row) for row in Grant.of_deployment(name)]

    def grant(self, identity: Identity, user_id: int, name: str, level: str) -> bool:
        """Give a user access, or change it; whether it is new.

        403 unless the caller holds ``admin`` on the deployment, existing or not, and for accounts of
        administrators; 404 ``USER_NOT_FOUND`` or ``DEPLOYMENT_NOT_FOUND``.
        """
        identity.need(Level.ADMIN, name)
        self._check_user(identity, user_id)
        check_deployment(self._ctx, name)
        with self._database.atomic():
            existing(user_id, lock=True)
            new = Grant.one(user_id, name) is None
            Grant.put(user_id, name, Level[level.upper()], caller_of(identity).user_id, now())
        return new

    def change(self, identity: Identity, user_id: int, name: str, level: str) -> None:
        """Change what was given; 404 ``GRANT_NOT_FOUND``, and as ``grant``."""
        with self._database.atomic():
            self._given(identity, user_id, name)
            Grant.put(user_id, name, Level[level.upper()], None, now())

    def revoke(self, identity: Identity, user_id: int, name: str) -> None:
        """Take it away; 404 ``GRANT_NOT_FOUND``, and as ``grant``."""
        with self._database.atomic():
            self._given(identity, user_id, name)
            Grant.drop(name, user_id)

    def join_creation(self, draft: Draft) -> Part:
        """A new deployment belongs to who makes it, and to nobody of before.

        Who has every deployment anyway is given none: an administrator who is none any more keeps
        nothing.
        """
        caller = caller_of(draft.identity)
        with self._database.atomic():
            self._forget(draft.name)
            if caller.user_id is None or caller.rights.unscoped:
                return Part()
            Grant.put(caller.user_id, draft.name, Level.ADMIN, caller.user_id, now())
        return Part(undo=lambda: self._undo(draft.name))

    def join_removal(self, removal: Removal) -> Sequence[RemovedItem]:
        """Nobody keeps access to a name whose deployment is gone; not worth a line in the answer."""
        with self._database.atomic():
            self._forget(removal.deployment.name)
        return ()

    def _forget(self, name: str) -> None:
        Grant.drop(name)
        end_limited_to(name, self._sessions)

    def _undo(self, name: str) -> None:
        with self._database.atomic():
            Grant.drop(name)

    def _check_user(self, identity: Identity, user_id: int) -> None:
        with self._database.session():
            bounds.check_target(caller_of(identity).rights, existing(user_id).role)

    def _given(self, identity: Identity, user_id: int, name: str) -> None:
        """Check, in the caller's transaction, that there is something that he may change."""
        identity.need(Level.ADMIN, name)
        bounds.check_target(caller_of(identity).rights, existing(user_id, lock=True).role)
        if Grant.one(user_id, name) is None:
            raise NotFound("The user has no access to this deployment", code="GRANT_NOT_FOUND")


def readable_access(identity: Identity, user_id: int) -> Iterator[Access]:
    """What a user was given, in the caller's session; names that ``identity`` may not read are left out."""
    for row in Grant.of_user(user_id):
        if identity.can(Level.READ, row.deployment_name):
            yield Access(row.deployment_name, _word(row.access_level), row.granted_by_id, row.created_at)


def check_deployment(ctx: PluginContext, name: str) -> None:
    """404 ``DEPLOYMENT_NOT_FOUND``, also where nothing keeps deployments; 400 for what is no name."""
    deployments = ctx.services.find(DEPLOYMENTS)
    if deployments is None:
        raise NotFound("Deployment not found", code="DEPLOYMENT_NOT_FOUND")
    deployments.get(name)


def _holder(row: Any) -> Holder:
    user = row.user
    word = _word(row.access_level)
    return Holder(user.id, user.username, user.email, user.role, word, row.granted_by_id, row.created_at)


def _word(level: int) -> str:
    return Level(level).name.lower()


GRANTS: ServiceKey[Grants] = ServiceKey("users.grants", "users")
