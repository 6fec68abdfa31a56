"""Who a token or an API key belongs to, asked of the database on every request.

So what ends a session, a key or an account, and what changes a role or a list of permissions, takes
effect on the next request. Text that cannot be a credential of ours is left to other providers.
"""

import logging
import re
import secrets
import threading
import time
from datetime import datetime, timedelta
from typing import Any, Final

from flatrun_core import AuthSettings, Forbidden, PluginContext, ServiceKey, Unauthenticated
from flatrun_core.db import now
from flatrun_core.ports.auth import PERMISSIONS, Access, Actor, Credentials, Identity
from flatrun_core.ports.secrets import SIGNING
from flatrun_core.ports.storage import DATABASE, PanelStore
from flatrun_users.caller import CLAIM, Caller, caller_of
from flatrun_users.effective import ADMIN, Rights, narrowed, of_account
from flatrun_users.keys import key_digest
from flatrun_users.lookups import Account, FoundSession, Key, Lookups
from flatrun_users.models import ApiKey, LoginSession
from flatrun_users.sessions import PURPOSE, static_hash
from flatrun_users.settings import UsersSettings

KEY_SHAPE: Final = re.compile(r"flatrun_[A-Za-z0-9_-]{43}")
# The signed name of a session: a JSON string of 32 digits, the time, the signature. A token of
# another provider that has three such parts, as a JWT does, begins with a JSON object: "ey".
TOKEN_SHAPE: Final = re.compile(r"I[A-Za-z0-9_-]{45}\.[A-Za-z0-9_-]{5,8}\.[A-Za-z0-9_-]{43}")
UNSCOPED: Final = Rights(ADMIN, None, unscoped=True, may_create=True)
_BETWEEN_TOUCHES: Final = timedelta(minutes=1)
_MAX_ADDRESS: Final = 64
_MAX_REMEMBERED: Final = 10_000

# What a session that must set up its second factor may still ask for: method, action, resource.
_ENROLMENT: Final = frozenset(
    {
        ("GET", "", "user"),
        ("POST", "users.totp.enrol", "user"),
        ("POST", "users.totp.confirm", "user"),
        ("DELETE", "users.totp.disable", "user"),
        ("GET", "", "auth"),
        ("POST", "auth.logout", "auth"),
        ("DELETE", "auth.sessions.revoke", "auth"),
    }
)

log = logging.getLogger(__name__)


class Authentication:
    """Makes identities. Safe to call from any thread, in a request or outside."""

    def __init__(self, ctx: PluginContext) -> None:
        self._database = ctx.services.get(DATABASE)
        self._signing = ctx.services.get(SIGNING)
        self._catalogue = ctx.services.get(PERMISSIONS)
        self._settings = ctx.settings
        self._lookups = Lookups()
        self._touches = _Touches(self._database)

    @property
    def enabled(self) -> bool:
        """Whether a credential is asked for at all."""
        return self._settings(AuthSettings).enabled

    def identify(self, credentials: Credentials) -> Identity | None:
        """The identity of a token or key; None for text of another shape, and for a key of the settings.

        401 ``INVALID_TOKEN`` for one of our shape that is not, or no longer, valid.
        """
        token = credentials.token
        if KEY_SHAPE.fullmatch(token):
            with self._database.session():
                found, refusal = self._by_key(token, credentials.client_ip), "Invalid API key"
        elif credentials.scheme == "bearer" and TOKEN_SHAPE.fullmatch(token):
            with self._database.session():
                found, refusal = self._by_token(token), "Invalid or expired token"
        else:
            return None
        # The core knows the keys of the settings, and is asked after this.
        if found is None and self.static_key(token) is None:
            raise Unauthenticated(refusal, code="INVALID_TOKEN")
        return found

    def rights(self, account: Account, key: Key | None) -> Rights:
        """What an account may do, or a key of it; in a session of the database."""
        grants = {} if account.role == ADMIN else self._lookups.grants(account.id)
        owner = of_account(self._catalogue, account.role, account.permissions, grants)
        return owner if key is None else narrowed(self._catalogue, owner, key.narrowing)

    def valid_key(self, text: str) -> tuple[Account, Key] | None:
        """A key that may be used now, with its owner; in a session of the database."""
        found = self._lookups.api_key(key_digest(text))
        if found is None or not found[0].is_active or not found[1].valid(now()):
            return None
        return found

    def static_key(self, text: str) -> int | None:
        """Which of the keys of the settings this is, compared in constant time; None for none."""
        given, found = static_hash(text), None
        for index, key in enumerate(self._settings(AuthSettings).api_keys):
            if secrets.compare_digest(static_hash(key), given):
                found = index
        return found

    def _by_key(self, text: str, client_ip: str) -> Identity | None:
        found = self.valid_key(text)
        if found is None:
            return None
        account, key = found
        rights = self.rights(account, key)
        self._touches.key(key, client_ip)
        caller = Caller(rights, user_id=account.id, api_key_id=key.id)
        return _identity(_actor(account, key), rights, caller, key.expires_at)

    def _by_token(self, token: str) -> Identity | None:
        token_id = self._signing.read(PURPOSE, token)
        session = self._lookups.session(token_id) if isinstance(token_id, str) else None
        identity = None if session is None else self._of_session(session)
        if session is not None and identity is not None:
            self._touches.session(session)
        return identity

    def _of_session(self, session: FoundSession) -> Identity | None:
        moment = now()
        if session.expires_at <= moment:
            return None
        if session.static_key_hash:
            return self._of_static_key(session)
        account, key = session.account, session.key
        if account is None or not account.is_active or (key is not None and not key.valid(moment)):
            return None
        rights = self.rights(account, key)
        caller = Caller(
            rights,
            user_id=account.id,
            api_key_id=None if key is None else key.id,
            session_id=session.id,
            must_enrol=key is None and not account.has_totp and self._needs_totp(account.role),
        )
        return _identity(_actor(account, key), rights, caller, session.expires_at)

    def _of_static_key(self, session: FoundSession) -> Identity | None:
        for index, key in enumerate(self._settings(AuthSettings).api_keys):
            if secrets.compare_digest(static_hash(key), session.static_key_hash):
                caller = Caller(UNSCOPED, session_id=session.id)
                return _identity(static_actor(index), UNSCOPED, caller, session.expires_at)
        return None

    def _needs_totp(self, role: str) -> bool:
        return role in self._settings(UsersSettings).totp_required_roles


def authorise(identity: Identity, access: Access, method: str) -> None:
    """Keep a session that must set up its second factor from everything else.

    403 ``TOTP_ENROLMENT_REQUIRED``.
    """
    if not caller_of(identity).must_enrol:
        return
    asked = ("GET" if method == "HEAD" else method, access.action, access.resource)
    if access.kind != "authenticated" or asked not in _ENROLMENT:
        raise Forbidden(
            "Your role needs a second factor; set it up with POST /api/users/me/totp first",
            code="TOTP_ENROLMENT_REQUIRED",
        )


def static_actor(index: int) -> Actor:
    """A key of the settings as the record names it."""
    return Actor("api_key", f"key_{index}", f"key_{index}")


def _actor(account: Account, key: Key | None) -> Actor:
    if key is None:
        return Actor("user", str(account.id), account.username)
    return Actor("api_key", f"key_{key.key_id}", account.username, key.prefix)


def _identity(actor: Actor, rights: Rights, caller: Caller, expires_at: datetime | None) -> Identity:
    return Identity(
        actor,
        role=rights.role,
        permissions=rights.permissions,
        grants=rights.grants,
        unscoped=rights.unscoped,
        may_create=rights.may_create,
        expires_at=expires_at,
        claims={CLAIM: caller},
    )


class _Touches:
    """Writes when something was last used: at most once a minute, and never at a request's cost.

    A write that fails is tried again after a minute, so that a database that takes no writes does not
    keep every request waiting.
    """

    def __init__(self, database: PanelStore) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._tried: dict[tuple[str, int], float] = {}

    def session(self, session: FoundSession) -> None:
        moment = now()
        if session.last_seen_at <= moment - _BETWEEN_TOUCHES and self._due("session", session.id):
            self._write(
                LoginSession.update(last_seen_at=moment).where(
                    (LoginSession.id == session.id) & (LoginSession.last_seen_at <= moment - _BETWEEN_TOUCHES)
                )
            )

    def key(self, key: Key, client_ip: str) -> None:
        moment = now()
        fresh = key.last_used_at is not None and key.last_used_at > moment - _BETWEEN_TOUCHES
        if not fresh and self._due("key", key.id):
            old = ApiKey.last_used_at.is_null() | (ApiKey.last_used_at <= moment - _BETWEEN_TOUCHES)
            new = {"last_used_at": moment, "last_used_ip": client_ip[:_MAX_ADDRESS]}
            self._write(ApiKey.update(**new).where((ApiKey.id == key.id) & old))

    def _due(self, kind: str, number: int) -> bool:
        moment = time.monotonic()
        with self._lock:
            last = self._tried.get((kind, number))
            if last is not None and moment - last < _BETWEEN_TOUCHES.total_seconds():
                return False
            if len(self._tried) >= _MAX_REMEMBERED:
                self._tried.clear()
            self._tried[kind, number] = moment
        return True

    def _write(self, query: Any) -> None:
        try:
            with self._database.atomic():
                query.execute()
        except Exception as exc:  # noqa: BLE001 - the request does not need it
            log.warning("when something was last used could not be written: %s", exc)


AUTHENTICATION: ServiceKey[Authentication] = ServiceKey("users.authentication", "users")
