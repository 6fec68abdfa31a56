"""Accounts as administrators see and change them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from peewee import IntegrityError

from flatrun_core import Conflict, Forbidden, Invalid, NotFound, PluginContext, ServiceKey
from flatrun_core.ports.auth import PERMISSIONS, Identity
from flatrun_core.ports.storage import DATABASE
from flatrun_users import bounds
from flatrun_users.caller import Caller, caller_of
from flatrun_users.effective import ADMIN, Rights
from flatrun_users.models import Grant, User
from flatrun_users.passwords import PASSWORDS, check_password
from flatrun_users.row_ids import possible
from flatrun_users.sessions import SESSIONS
from flatrun_users.totp import TOTP

# Whoever may change one of these of another's account may log in in his place, or let him back in.
_HANDS_OVER: Final = frozenset({"username", "password_hash", "totp"})
_COLUMNS: Final = ("username", "email", "role", "is_active", "permissions")


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is shown."""

    id: int
    uid: str
    username: str
    email: str
    role: str
    permissions: tuple[str, ...]
    is_active: bool
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None
    deployment_count: int


@dataclass(frozen=True, slots=True)
class Changed:
    """An account after a change, and the names of what changed."""

    account: Account
    fields: tuple[str, ...]


class Accounts:
    """Lists, makes, changes and deletes accounts. Safe to call from any thread."""

    def __init__(self, ctx: PluginContext) -> None:
        self._database = ctx.services.get(DATABASE)
        self._catalogue = ctx.services.get(PERMISSIONS)
        self._passwords = ctx.services.get(PASSWORDS)
        self._sessions = ctx.services.get(SESSIONS)
        self._totp = ctx.services.get(TOTP)

    def all(self) -> list[Account]:
        """Every account, newest first."""
        with self._database.session():
            counts = Grant.counts()
            return [shown(row, counts.get(row.id, 0)) for row in User.newest_first()]

    def one(self, user_id: int) -> Account:
        """One account; 404 ``USER_NOT_FOUND``."""
        with self._database.session():
            return shown(existing(user_id), Grant.count_of(user_id))

    def create(self, identity: Identity, new: Mapping[str, Any]) -> Account:
        """Make an account.

        400 ``WEAK_PASSWORD`` or ``UNKNOWN_PERMISSION``, 403 for more than the caller may give, 409
        ``USER_EXISTS``.
        """
        permissions = bounds.check_known(self._catalogue, new["permissions"])
        check_password(new["password"])
        mine = caller_of(identity).rights
        bounds.check_gift(mine, None, self._rights(new["role"], permissions, {}))
        with self._database.session():
            _check_free(new["username"])
        password_hash = self._passwords.hash(new["password"])
        with _one_of_a_name(), self._database.atomic():
            made = User.make(new["username"], password_hash, new["role"], permissions, new["email"])
            return shown(made, 0)

    def update(self, identity: Identity, user_id: int, wanted: Mapping[str, Any]) -> Changed:
        """Change what is named; ``password`` and ``totp`` False are a reset, of somebody else's.

        Deactivation and a new password end every session. Refuses as ``create`` does, and 404
        ``USER_NOT_FOUND``, 409 ``LAST_ADMIN``.
        """
        caller = caller_of(identity)
        if user_id == caller.user_id:
            _check_own(caller, wanted)
        columns = self._columns(caller, user_id, wanted)
        with _one_of_a_name(), self._database.atomic():
            admins = User.lock_admins(ADMIN)
            row = existing(user_id, lock=True)
            changed = {name: value for name, value in columns.items() if getattr(row, name) != value}
            named = set(changed) | ({"totp"} if "totp" in wanted else set())
            self._check_update(caller.rights, row, changed, named)
            if _loses_admin(row, changed):
                check_not_last(admins, row.id)
            self._apply(row, changed, named)
            fields = tuple(sorted(name.removesuffix("_hash") for name in named))
            return Changed(shown(row, Grant.count_of(user_id)), fields)

    def delete(self, identity: Identity, user_id: int) -> None:
        """Delete an account with its keys, sessions and access.

        400 ``CANNOT_DELETE_SELF``, 403, 404 ``USER_NOT_FOUND``, 409 ``LAST_ADMIN``.
        """
        caller = caller_of(identity)
        if user_id == caller.user_id:
            raise Invalid("You cannot delete your own account", code="CANNOT_DELETE_SELF")
        with self._database.atomic():
            admins = User.lock_admins(ADMIN)
            row = existing(user_id, lock=True)
            bounds.check_target(caller.rights, row.role)
            if _loses_admin(row, {"is_active": False}):
                check_not_last(admins, row.id)
            row.delete_instance()

    def _columns(self, caller: Caller, user_id: int, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """What is to be written; a password is hashed here, outside of the transaction."""
        columns = {name: wanted[name] for name in _COLUMNS if name in wanted}
        if "permissions" in wanted:
            columns["permissions"] = bounds.check_known(self._catalogue, wanted["permissions"])
        if "password" in wanted:
            check_password(wanted["password"])
        with self._database.session():
            bounds.check_target(caller.rights, existing(user_id).role)
            if "username" in wanted:
                _check_free(wanted["username"], user_id)
        if "password" in wanted:
            columns["password_hash"] = self._passwords.hash(wanted["password"])
        return columns

    def _check_update(
        self, mine: Rights, row: Any, changed: Mapping[str, Any], named: Collection[str]
    ) -> None:
        if mine.is_admin:
            return
        bounds.check_target(mine, row.role)
        grants = Grant.levels_of(row.id)
        before = self._rights(row.role, row.permissions, grants)
        if changed.get("is_active") or not _HANDS_OVER.isdisjoint(named):
            bounds.check_takeover(mine, before)
        role, permissions = changed.get("role", row.role), changed.get("permissions", row.permissions)
        bounds.check_gift(mine, before, self._rights(role, permissions, grants))

    def _apply(self, row: Any, changed: Mapping[str, Any], named: Collection[str]) -> None:
        if named:
            row.change(**changed)
        if "totp" in named:
            self._totp.reset(row.id)
        if changed.get("is_active") is False or "password_hash" in named:
            self._sessions.revoke_of_user(row.id)

    def _rights(self, role: str, permissions: Collection[str], grants: Mapping[str, int]) -> Rights:
        return bounds.account_rights(self._catalogue, role, permissions, grants)


def shown(row: Any, deployment_count: int) -> Account:
    """A row as it is shown."""
    return Account(
        id=row.id,
        uid=row.uid,
        username=row.username,
        email=row.email,
        role=row.role,
        permissions=tuple(row.permissions),
        is_active=row.is_active,
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_login_at=row.last_login_at,
        deployment_count=deployment_count,
    )


def existing(user_id: int, *, lock: bool = False) -> Any:
    """The row of an account, in the caller's session; 404 ``USER_NOT_FOUND``."""
    row = User.one(user_id, lock=lock) if possible(user_id) else None
    if row is None:
        raise NotFound("User not found", code="USER_NOT_FOUND")
    return row


def _check_own(caller: Caller, wanted: Collection[str]) -> None:
    """403 for what is changed below ``/api/users/me``, by proof; and for whatever a key asks."""
    if caller.api_key_id is not None:
        raise Forbidden(bounds.NOT_BY_KEY)
    if not {"password", "totp"}.isdisjoint(wanted):
        raise Forbidden("Change your own password and second factor below /api/users/me")


def check_not_last(admins: Collection[int], user_id: int) -> None:
    """409 ``LAST_ADMIN`` unless one of the locked ``admins`` remains without this account."""
    if not set(admins) - {user_id}:
        raise Conflict("The last active administrator cannot be lost", code="LAST_ADMIN")


def _loses_admin(row: Any, changed: Mapping[str, Any]) -> bool:
    """Whether an active administrator would be none any more."""
    stays = changed.get("role", row.role) == ADMIN and changed.get("is_active", row.is_active)
    return row.role == ADMIN and row.is_active and not stays


def _check_free(username: str, user_id: int | None = None) -> None:
    row = User.named(username)
    if row is not None and row.id != user_id:
        raise _taken()


@contextmanager
def _one_of_a_name() -> Iterator[None]:
    """Around the transaction: somebody else took the name at the same moment."""
    try:
        yield
    except IntegrityError as exc:
        raise _taken() from exc


def _taken() -> Conflict:
    return Conflict("A user of this name already exists", code="USER_EXISTS")


ACCOUNTS: ServiceKey[Accounts] = ServiceKey("users.accounts", "users")
