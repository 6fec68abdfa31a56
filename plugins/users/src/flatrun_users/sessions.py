"""Login sessions: the rows that tokens stand for.

A token is a signed session name and nothing else, so whatever ends the row ends the token.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flatrun_core import Invalid, NotFound, ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.secrets import Signing
from flatrun_core.ports.storage import PanelStore
from flatrun_users.caller import Caller
from flatrun_users.models import LoginSession
from flatrun_users.settings import UsersSettings

PURPOSE: Final = "users.session"
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_MAX_AGENT: Final = 255
_MAX_ADDRESS: Final = 64


@dataclass(frozen=True, slots=True)
class Client:
    """From where somebody logs in."""

    ip: str
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """For whom a session is: an account, a key of it, or (by its hash) a key of the settings.

    ``until`` is when the key expires, None for never.
    """

    user_id: int | None = None
    api_key_id: int | None = None
    static_key_hash: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session; the token is kept nowhere."""

    token: str
    expires_at: datetime
    expires_in: int


@dataclass(frozen=True, slots=True)
class ShownSession:
    """A session as its owner sees it."""

    id: int
    created_at: datetime
    last_seen_at: datetime
    client_ip: str
    user_agent: str
    current: bool


class Sessions:
    """Opens, lists and ends sessions. Safe to call from any thread: all state is in the database."""

    def __init__(self, database: PanelStore, signing: Signing, settings: Callable[[], UsersSettings]) -> None:
        self._database = database
        self._signing = signing
        self._settings = settings

    def open(self, holder: Holder, client: Client) -> Opened:
        """A new session and its token; call it in the transaction that checked the holder."""
        moment = now()
        expires_at = moment + self._settings().session_lifetime
        if holder.until is not None:
            expires_at = min(expires_at, holder.until)
        token_id = secrets.token_hex(16)
        LoginSession.create(
            token_id=token_id,
            user=holder.user_id,
            api_key=holder.api_key_id,
            static_key_hash=holder.static_key_hash,
            client_ip=client.ip[:_MAX_ADDRESS],
            user_agent=client.user_agent.replace("\0", "")[:_MAX_AGENT],
            created_at=moment,
            last_seen_at=moment,
            expires_at=expires_at,
        )
        left = int((expires_at - moment).total_seconds())
        return Opened(self._signing.sign(PURPOSE, token_id), expires_at, left)

    def of(self, caller: Caller) -> list[ShownSession]:
        """The caller's live sessions, newest first; of a key only those that were opened with it."""
        with self._database.session():
            rows = LoginSession.live().where(_own(caller)).order_by(LoginSession.id.desc())
            return [
                ShownSession(
                    row.id,
                    row.created_at,
                    row.last_seen_at,
                    row.client_ip,
                    row.user_agent,
                    row.id == caller.session_id,
                )
                for row in rows
            ]

    def revoke(self, caller: Caller, session_id: str) -> None:
        """End one of the caller's sessions; 404 ``SESSION_NOT_FOUND`` for any other."""
        ended = 0
        if _NUMBER.fullmatch(session_id):
            with self._database.atomic():
                ended = LoginSession.revoke_where(_own(caller) & (LoginSession.id == int(session_id)))
        if not ended:
            raise NotFound("Session not found", code="SESSION_NOT_FOUND")

    def log_out(self, caller: Caller) -> None:
        """End the caller's own session; 400 ``NO_SESSION`` for a caller who has none."""
        if caller.session_id is None:
            raise Invalid(
                "Only the token of a login can be logged out; an API key is revoked instead",
                code="NO_SESSION",
            )
        with self._database.atomic():
            LoginSession.revoke_where(LoginSession.id == caller.session_id)

    def revoke_of_user(self, user_id: int, *, keep: int | None = None) -> int:
        """End the sessions of an account, those of its keys included, but ``keep``; how many ended.

        Call it inside the transaction of the change that asks for it, after the account's row was
        changed: a login of the same moment waits for that row, and is then refused or found here.
        """
        wanted = LoginSession.user == user_id
        if keep is not None:
            wanted &= LoginSession.id != keep
        return LoginSession.revoke_where(wanted)

    def revoke_of_key(self, api_key_id: int) -> int:
        """End the sessions that were opened with a key, in the caller's transaction; how many ended."""
        return LoginSession.revoke_where(LoginSession.api_key == api_key_id)

    def forget(self) -> int:
        """Delete what has expired or was ended; how many rows went."""
        with self._database.atomic():
            return LoginSession.delete_dead()


def static_hash(key: str) -> str:
    """What a session keeps of a key of the settings."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _own(caller: Caller) -> Any:
    if caller.api_key_id is not None:
        return LoginSession.api_key == caller.api_key_id
    if caller.user_id is not None:
        return LoginSession.user == caller.user_id
    if caller.session_id is None:
        return LoginSession.id.is_null()  # nobody's
    same = LoginSession.alias()
    mine = same.select(same.static_key_hash).where(same.id == caller.session_id)
    return LoginSession.user.is_null() & (LoginSession.static_key_hash == mine)


SESSIONS: ServiceKey[Sessions] = ServiceKey("users.sessions", "users")
