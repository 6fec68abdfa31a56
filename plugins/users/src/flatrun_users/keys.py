"""API keys: made, shown once, listed, revoked and deleted."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flatrun_core import Conflict, Forbidden, Level, NotFound, PluginContext, ServiceKey, Unauthenticated
from flatrun_core.db import now
from flatrun_core.ports.auth import PERMISSIONS, Identity
from flatrun_core.ports.storage import DATABASE
from flatrun_users import bounds, key_rules
from flatrun_users.accounts import existing
from flatrun_users.caller import Caller, caller_of
from flatrun_users.effective import ADMIN, Narrowing, Rights
from flatrun_users.grants import check_deployment
from flatrun_users.key_ends import end_keys
from flatrun_users.key_rules import Maker
from flatrun_users.models import ApiKey, Grant, User
from flatrun_users.sessions import SESSIONS

KEY_PREFIX: Final = "flatrun_"
_SHOWN: Final = 16  # characters


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; ``key`` is its text, kept nowhere."""

    id: int
    key: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key as it is shown from then on."""

    id: int
    key_id: str
    user_id: int
    name: str
    description: str
    key_prefix: str
    role: str
    permissions: tuple[str, ...]
    deployments: tuple[str, ...]
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_ip: str
    is_active: bool
    created_at: datetime


def key_digest(text: str) -> str:
    """What is stored of a key and looked up: its SHA-256, 64 hexadecimal digits.

    Without salt or stretching, because 256 random bits cannot be guessed; so one indexed look finds it.
    """
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


class Keys:
    """Makes and ends API keys. Safe to call from any thread."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._database = ctx.services.get(DATABASE)
        self._catalogue = ctx.services.get(PERMISSIONS)
        self._sessions = ctx.services.get(SESSIONS)

    def all(self, identity: Identity) -> list[ShownKey]:
        """The caller's own keys, or everybody's for an administrator; newest first."""
        caller = caller_of(identity)
        if caller.user_id is None and not caller.rights.is_admin:
            return []
        with self._database.session():
            rows = ApiKey.newest_first(None if caller.rights.is_admin else caller.user_id)
            return [_shown(row) for row in rows]

    def one(self, identity: Identity, key_id: int) -> ShownKey:
        """One key; 404 ``API_KEY_NOT_FOUND``, also for somebody else's."""
        with self._database.session():
            return _shown(_visible(caller_of(identity), key_id))

    def create(self, identity: Identity, new: Mapping[str, Any]) -> NewKey:
        """Make a key.

        400 ``UNKNOWN_PERMISSION``; 403 ``ROLE_TOO_HIGH`` or for anything else beyond the caller or the
        owner; 404 ``USER_NOT_FOUND`` or ``DEPLOYMENT_NOT_FOUND``; 409 ``NO_ADMINISTRATOR`` when the
        caller has no account and nobody could own the key.
        """
        caller = caller_of(identity)
        permissions = bounds.check_known(self._catalogue, new["permissions"])
        wanted = Narrowing(new["role"], tuple(permissions), tuple(dict.fromkeys(new["deployments"])))
        owner_id = self._owner(caller, new["user_id"])
        self._check_deployments(identity, owner_id, wanted.deployments)
        with self._database.atomic():
            owner = existing(owner_id, lock=True)
            maker = _maker(caller)
            limits = key_rules.narrowing(self._catalogue, maker, self._rights(owner), wanted)
            moment = now()
            text = KEY_PREFIX + secrets.token_urlsafe(32)
            row = ApiKey.make(
                user=owner_id,
                made_by=caller.api_key_id,
                name=new["name"],
                description=new["description"],
                key_hash=key_digest(text),
                key_prefix=f"{text[:_SHOWN]}...",
                role=limits.role,
                permissions=list(limits.permissions),
                deployments=list(limits.deployments),
                expires_at=key_rules.expiry(maker, moment, new["expires_in"]),
                created_at=moment,
            )
        return NewKey(row.id, text, row.name, moment)

    def revoke(self, identity: Identity, key_id: int) -> None:
        """End a key, what was made by it, and their sessions; the row stays. As often as one likes."""
        with self._database.atomic():
            end_keys([self._locked(identity, key_id)], self._sessions)

    def delete(self, identity: Identity, key_id: int) -> None:
        """Delete a key, what was made by it, and their sessions."""
        with self._database.atomic():
            ApiKey.drop(self._locked(identity, key_id))

    def _locked(self, identity: Identity, key_id: int) -> int:
        """The key's number, its owner's keys being held from here on; 404 ``API_KEY_NOT_FOUND``."""
        row = _visible(caller_of(identity), key_id)
        User.one(row.user_id, lock=True)
        return int(_visible(caller_of(identity), key_id).id)

    def _owner(self, caller: Caller, user_id: int | None) -> int:
        if user_id is not None and user_id != caller.user_id:
            if not caller.rights.is_admin:
                raise Forbidden("Only administrators may make keys for others")
            with self._database.session():
                return int(existing(user_id).id)
        if caller.user_id is not None:
            return caller.user_id
        with self._database.session():
            admins = User.active_of_role(ADMIN)
        if not admins:
            raise Conflict("There is no active administrator to own the key", code="NO_ADMINISTRATOR")
        return admins[0]

    def _check_deployments(self, identity: Identity, owner_id: int, names: tuple[str, ...]) -> None:
        """Whether they are the caller's and the owner's to read, then whether they are there."""
        for name in names:
            identity.need(Level.READ, name)
        with self._database.session():
            owner = self._rights(existing(owner_id))
        foreign = [name for name in names if bounds.level_on(owner, name) is None]
        if foreign:
            raise Forbidden(
                f"The owner has no access to {', '.join(foreign[:5])}", code="DEPLOYMENT_FORBIDDEN"
            )
        for name in names:
            check_deployment(self._ctx, name)

    def _rights(self, owner: Any) -> Rights:
        levels = Grant.levels_of(owner.id)
        return bounds.account_rights(self._catalogue, owner.role, owner.permissions, levels)


def _maker(caller: Caller) -> Maker:
    """Who asks, in the caller's transaction: of a key its row, locked, so that it cannot end meanwhile."""
    if caller.api_key_id is not None:
        row = ApiKey.one(caller.api_key_id, lock=True)
        if row is None or not row.is_active:
            raise Unauthenticated("Invalid API key", code="INVALID_TOKEN")
        return key_rules.maker_with_key(caller.rights, row)
    if caller.user_id is None:
        return key_rules.maker_without_account(caller.rights)
    return Maker(caller.rights)


def _visible(caller: Caller, key_id: int) -> Any:
    row = ApiKey.one(key_id)
    if row is None or not (caller.rights.is_admin or row.user_id == caller.user_id):
        raise NotFound("API key not found", code="API_KEY_NOT_FOUND")
    return row


def _shown(row: Any) -> ShownKey:
    return ShownKey(
        id=row.id,
        key_id=row.key_id,
        user_id=row.user_id,
        name=row.name,
        description=row.description,
        key_prefix=row.key_prefix,
        role=row.role,
        permissions=tuple(row.permissions),
        deployments=tuple(row.deployments),
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        last_used_ip=row.last_used_ip,
        is_active=row.is_active,
        created_at=row.created_at,
    )


KEYS: ServiceKey[Keys] = ServiceKey("users.keys", "users")
