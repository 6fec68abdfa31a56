"""What whoever has the host may do to accounts, so that somebody can always be let back in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flatrun_core import Invalid, NotFound, PluginContext, ServiceKey
from flatrun_core.ports.auth import RECORD, Actor, RecordedEvent
from flatrun_core.ports.storage import DATABASE
from flatrun_users.account_schemas import USERNAME
from flatrun_users.effective import ADMIN
from flatrun_users.models import User
from flatrun_users.passwords import PASSWORDS, check_password
from flatrun_users.sessions import SESSIONS
from flatrun_users.throttle import THROTTLE
from flatrun_users.totp import TOTP

COMPONENT: Final = "flatrun users"
ACTOR: Final = Actor("system", COMPONENT, COMPONENT)


@dataclass(frozen=True, slots=True)
class HostAccount:
    """An account as it is shown on the host."""

    id: int
    username: str
    email: str
    role: str
    is_active: bool
    has_totp: bool
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset did: ``created`` and the rest tell what changed beside the password.

    ``has_totp`` tells that a second factor is still asked for, ``administrators`` how many are active.
    """

    account: HostAccount
    created: bool
    activated: bool
    promoted: bool
    sessions_ended: int
    administrators: int


class HostAccounts:
    """Changes accounts without asking who is asking; each change is in the record, or does not happen."""

    def __init__(self, ctx: PluginContext) -> None:
        self._database = ctx.services.get(DATABASE)
        self._passwords = ctx.services.get(PASSWORDS)
        self._sessions = ctx.services.get(SESSIONS)
        self._throttle = ctx.services.get(THROTTLE)
        self._totp = ctx.services.get(TOTP)
        self._record = ctx.services.get(RECORD)

    def all(self) -> list[HostAccount]:
        """Every account, oldest first."""
        with self._database.session():
            return [_shown(row) for row in reversed(User.newest_first())]

    def reset_password(
        self, username: str, password: str, *, activate: bool = False, promote: bool = False
    ) -> Reset:
        """Set a password, end the account's sessions and forget its failed logins.

        With ``activate`` a deactivated account is revived, with ``promote`` it becomes an administrator.
        Where no administrator is active a name that nobody has becomes one. 400 ``WEAK_PASSWORD`` or for
        what cannot be a name, 404 ``USER_NOT_FOUND``.
        """
        password_hash = self._passwords.hash(check_password(password))
        with self._database.atomic():
            admins = User.lock_admins(ADMIN)
            row = User.named(username, lock=True)
            created = row is None
            if row is None:
                row = self._make(username, password_hash, admins)
            changes = _revival(row, activate=activate, promote=promote)
            row.change(password_hash=password_hash, **changes)
            ended = self._sessions.revoke_of_user(row.id)
            self._throttle.unlock(row.username)
            done = Reset(
                account=_shown(row),
                created=created,
                activated="is_active" in changes,
                promoted="role" in changes,
                sessions_ended=ended,
                administrators=len(User.active_of_role(ADMIN)),
            )
            facts = {name: getattr(done, name) for name in ("created", "activated", "promoted")}
            self._tell("users.reset_password", row, {name: True for name, value in facts.items() if value})
        return done

    def unlock(self, username: str) -> int:
        """Forget the failed logins of a name; how many there were. 404 ``USER_NOT_FOUND``."""
        with self._database.atomic():
            row = _named(username)
            forgotten = self._throttle.unlock(row.username)
            self._tell("users.unlock", row, {"failures": forgotten})
        return forgotten

    def reset_totp(self, username: str) -> bool:
        """Take a second factor away; whether there was one. 404 ``USER_NOT_FOUND``."""
        with self._database.atomic():
            row = _named(username)
            had = self._totp.reset(row.id)
            ended = self._sessions.revoke_of_user(row.id)
            self._tell("users.reset_totp", row, {"sessions_ended": ended})
        return had

    def _make(self, username: str, password_hash: str, admins: list[int]) -> Any:
        if admins:
            raise _unknown(username)
        if not re.match(USERNAME, username):
            raise Invalid("A name has 3 to 64 letters, digits, dots, underscores and hyphens")
        return User.make(username, password_hash, ADMIN)

    def _tell(self, action: str, row: Any, facts: Mapping[str, Any]) -> None:
        metadata = {"username": row.username, **facts}
        self._record.write(RecordedEvent(action, "user", str(row.id), ACTOR, metadata=metadata))


def _revival(row: Any, *, activate: bool, promote: bool) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if activate and not row.is_active:
        changes["is_active"] = True
    if promote and row.role != ADMIN:
        changes["role"] = ADMIN
    return changes


def _named(username: str) -> Any:
    row = User.named(username, lock=True)
    if row is None:
        raise _unknown(username)
    return row


def _unknown(username: str) -> NotFound:
    return NotFound(f"There is no user '{username}'", code="USER_NOT_FOUND")


def _shown(row: Any) -> HostAccount:
    return HostAccount(
        id=row.id,
        username=row.username,
        email=row.email,
        role=row.role,
        is_active=row.is_active,
        has_totp=row.totp_confirmed_at is not None,
        last_login_at=row.last_login_at,
    )


HOST: ServiceKey[HostAccounts] = ServiceKey("users.host", "users")
