"""Logins: a password, with the second factor where there is one, or an API key, becomes a session.

Unknown names, wrong passwords and inactive accounts get the same answer at the same cost. What was
checked is checked again in the transaction that opens the session, so that a password changed or an
account deactivated meanwhile lets nobody in.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from flatrun_core import Invalid, Level, PluginContext, ServiceKey, Unauthenticated
from flatrun_core.db import now
from flatrun_core.ports.auth import PERMISSIONS, Actor
from flatrun_core.ports.storage import DATABASE
from flatrun_users.account_schemas import USERNAME
from flatrun_users.authentication import AUTHENTICATION, KEY_SHAPE, UNSCOPED, static_actor
from flatrun_users.effective import Rights
from flatrun_users.keys import key_digest
from flatrun_users.lookups import Account, Key
from flatrun_users.models import ApiKey, User
from flatrun_users.passwords import PASSWORDS
from flatrun_users.sessions import SESSIONS, Client, Holder, Opened, static_hash
from flatrun_users.throttle import KEYS, THROTTLE, Attempt
from flatrun_users.totp import TOTP

# How often a login begins anew because the account changed while its password was compared.
_TRIES: Final = 3
_MAX_ADDRESS: Final = 64
_KEY_LIKE: Final = re.compile(r"flatrun_[A-Za-z0-9_-]{24}")  # or most of one


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody logs in with; a name and a password count before a key."""

    username: str = ""
    password: str = field(default="", repr=False)
    totp_code: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LoggedInUser:
    """The account as the answer of a login shows it."""

    id: int
    uid: str
    username: str
    email: str
    role: str
    is_active: bool
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login that succeeded; ``user`` is None for a key of the settings."""

    session: Opened = field(repr=False)
    actor: Actor
    user: LoggedInUser | None
    permissions: list[str]
    deployments: list[tuple[str, Level]]


class Logins:
    """Logs in. Safe to call from any thread, outside of a transaction."""

    def __init__(self, ctx: PluginContext) -> None:
        get = ctx.services.get
        self._database = get(DATABASE)
        self._passwords = get(PASSWORDS)
        self._sessions = get(SESSIONS)
        self._throttle = get(THROTTLE)
        self._totp = get(TOTP)
        self._authentication = get(AUTHENTICATION)
        self._catalogue = get(PERMISSIONS)

    def attempted(self, given: Given) -> Actor:
        """Who it may be, for the record of a login that fails; unnamed unless that can be a name.

        People type secrets into the wrong field, and a record is for ever.
        """
        named = given.username if given.password else ""
        possible = re.match(USERNAME, named) and not _KEY_LIKE.match(named)
        if not possible or self._authentication.static_key(named) is not None:
            named = ""
        return Actor("anonymous", "", named)

    def log_in(self, given: Given, client: Client) -> LoggedIn:
        """Log in by what was given; 400 ``VALIDATION_ERROR`` when that is neither of both."""
        if given.username and given.password:
            return self.by_password(given, client)
        if given.api_key:
            return self.by_key(given.api_key, client)
        raise Invalid("username and password are required, or api_key")

    def by_password(self, given: Given, client: Client) -> LoggedIn:
        """Log in to an account.

        401 ``INVALID_CREDENTIALS``, and ``TOTP_REQUIRED`` when only the code is missing; 429
        ``RATE_LIMITED``.
        """
        with self._throttle.attempt(client.ip, given.username) as attempt:
            for _ in range(_TRIES):
                user = self._checked(given)
                done = self._open(user, given, client, attempt)
                if done is not None:
                    return done
            raise _wrong_password()

    def by_key(self, text: str, client: Client) -> LoggedIn:
        """Log in with a key; 401 ``INVALID_CREDENTIALS``, 429 ``RATE_LIMITED``."""
        with self._throttle.attempt(client.ip, KEYS) as attempt, self._database.atomic():
            index = self._authentication.static_key(text)
            if index is None:
                done = self._with_api_key(text, client)
            else:
                done = self._with_static_key(index, text, client)
            attempt.clear()
            return done

    def _checked(self, given: Given) -> Any:
        """The row of an account whose password this is."""
        with self._database.session():
            user = User.named(given.username)
        if user is None or not user.is_active:
            self._passwords.spend()
            raise _wrong_password()
        if not self._passwords.matches(user.password_hash, given.password):
            raise _wrong_password()
        if user.totp_confirmed_at is not None and not given.totp_code:
            raise Unauthenticated("A code of the second factor is required", code="TOTP_REQUIRED")
        return user

    def _open(self, user: Any, given: Given, client: Client, attempt: Attempt) -> LoggedIn | None:
        """The session; None when the account is not any more what was checked."""
        columns: dict[str, Any] = {"last_login_at": now()}
        if self._passwords.outdated(user.password_hash):
            columns["password_hash"] = self._passwords.hash(given.password)
        with self._database.atomic():
            if not User.log_in(user, columns):
                return None
            if user.totp_confirmed_at is not None and not self._totp.accept(user, given.totp_code):
                raise Unauthenticated("Invalid code of the second factor", code="INVALID_CREDENTIALS")
            opened = self._sessions.open(Holder(user_id=user.id), client)
            attempt.clear()
            user.last_login_at = columns["last_login_at"]
            rights = self._authentication.rights(_account(user), None)
        return self._answer(opened, Actor("user", str(user.id), user.username), user, rights)

    def _with_api_key(self, text: str, client: Client) -> LoggedIn:
        found = self._authentication.valid_key(text) if KEY_SHAPE.fullmatch(text) else None
        # The owner's row is held, so that nobody deactivates the account before this is done.
        user = User.one(found[0].id, lock=True) if found is not None else None
        if found is None or user is None or not user.is_active:
            raise _wrong_key()
        key: Key = found[1]
        if not ApiKey.use(key.id, key_digest(text), client.ip[:_MAX_ADDRESS]):
            raise _wrong_key()
        holder = Holder(user_id=user.id, api_key_id=key.id, until=key.expires_at)
        opened = self._sessions.open(holder, client)
        actor = Actor("api_key", f"key_{key.key_id}", user.username, key.prefix)
        return self._answer(opened, actor, user, self._authentication.rights(_account(user), key))

    def _with_static_key(self, index: int, key: str, client: Client) -> LoggedIn:
        opened = self._sessions.open(Holder(static_key_hash=static_hash(key)), client)
        return self._answer(opened, static_actor(index), None, UNSCOPED)

    def _answer(self, opened: Opened, actor: Actor, user: Any, rights: Rights) -> LoggedIn:
        names = self._catalogue.known().keys() if rights.permissions is None else rights.permissions
        shown = None if user is None else _shown(user)
        return LoggedIn(opened, actor, shown, sorted(names), sorted(rights.grants.items()))


def _account(user: Any) -> Account:
    return Account(
        user.id,
        user.username,
        user.role,
        tuple(user.permissions),
        user.is_active,
        user.totp_confirmed_at is not None,
    )


def _shown(user: Any) -> LoggedInUser:
    return LoggedInUser(
        user.id,
        user.uid,
        user.username,
        user.email,
        user.role,
        user.is_active,
        user.created_at,
        user.updated_at,
        user.last_login_at,
    )


def _wrong_password() -> Unauthenticated:
    return Unauthenticated("Invalid username or password", code="INVALID_CREDENTIALS")


def _wrong_key() -> Unauthenticated:
    return Unauthenticated("Invalid API key", code="INVALID_CREDENTIALS")


LOGINS: ServiceKey[Logins] = ServiceKey("users.logins", "users")
