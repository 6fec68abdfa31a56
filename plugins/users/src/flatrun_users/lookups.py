"""What is asked of the database on every request: who a token or a key belongs to, and their access.

The SQL of each query is built once and then only asked with another value, because building it costs
more than running it. Rows become plain values here, whatever the database's driver returns.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from peewee import JOIN

from flatrun_core import Level
from flatrun_users.effective import Narrowing
from flatrun_users.models import ApiKey, Grant, LoginSession, User


@dataclass(frozen=True, slots=True)
class Account:
    """The facts of an account that decide what it may do."""

    id: int
    username: str
    role: str
    permissions: tuple[str, ...]
    is_active: bool
    has_totp: bool


@dataclass(frozen=True, slots=True)
class Key:
    """The facts of an API key that decide whether it is valid, and what it takes away."""

    id: int
    key_id: str
    prefix: str
    narrowing: Narrowing
    expires_at: datetime | None
    last_used_at: datetime | None
    is_active: bool

    def valid(self, moment: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.is_active and (self.expires_at is None or self.expires_at > moment)


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session that was not revoked, with the account and the key it is for, if any."""

    id: int
    expires_at: datetime
    last_seen_at: datetime
    static_key_hash: str
    account: Account | None
    key: Key | None


class Lookups:
    """The queries; to be asked in a session of the database. Safe to call from any thread."""

    def __init__(self) -> None:
        self._session = _Prepared(_session_query)
        self._key = _Prepared(_key_query)
        self._grants = _Prepared(_grant_query)

    def session(self, token_id: str) -> FoundSession | None:
        """The session of a token, unless it was revoked; expired or not."""
        rows = self._session.ask(token_id)
        if not rows:
            return None
        number, expires_at, last_seen_at, static_key_hash, *rest = rows[0]
        return FoundSession(
            number,
            _required(expires_at),
            _required(last_seen_at),
            static_key_hash,
            _account(rest[:6]),
            _api_key(rest[6:]),
        )

    def api_key(self, key_hash: str) -> tuple[Account, Key] | None:
        """The key of that hash and its owner, valid or not."""
        rows = self._key.ask(key_hash)
        if not rows:
            return None
        account, key = _account(rows[0][:6]), _api_key(rows[0][6:])
        return None if account is None or key is None else (account, key)

    def grants(self, user_id: int) -> dict[str, Level]:
        """The deployments of an account and its level on each."""
        return {name: Level(level) for name, level in self._grants.ask(user_id)}


class _Prepared:
    """A query of one value whose SQL is built once."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build
        self._sql = ""

    def ask(self, value: Any) -> list[tuple[Any, ...]]:
        if not self._sql:
            sql, parameters = self._build(value).sql()
            if len(parameters) != 1:
                raise ValueError("a prepared query has one parameter")
            self._sql = sql
        rows: list[tuple[Any, ...]] = User._meta.database.execute_sql(self._sql, (value,)).fetchall()
        return rows


_ACCOUNT: Final = (
    User.id,
    User.username,
    User.role,
    User.permissions,
    User.is_active,
    User.totp_confirmed_at,
)
_KEY: Final = (
    ApiKey.id,
    ApiKey.key_id,
    ApiKey.key_prefix,
    ApiKey.role,
    ApiKey.permissions,
    ApiKey.deployments,
    ApiKey.expires_at,
    ApiKey.last_used_at,
    ApiKey.is_active,
)


def _session_query(token_id: str) -> Any:
    one = LoginSession
    query = one.select(one.id, one.expires_at, one.last_seen_at, one.static_key_hash, *_ACCOUNT, *_KEY)
    query = query.join(User, JOIN.LEFT_OUTER, on=(one.user == User.id))
    query = query.join_from(one, ApiKey, JOIN.LEFT_OUTER, on=(one.api_key == ApiKey.id))
    return query.where((one.token_id == token_id) & one.revoked_at.is_null())


def _key_query(key_hash: str) -> Any:
    query = ApiKey.select(*_ACCOUNT, *_KEY).join(User, JOIN.INNER, on=(ApiKey.user == User.id))
    return query.where(ApiKey.key_hash == key_hash)


def _grant_query(user_id: int) -> Any:
    return Grant.select(Grant.deployment_name, Grant.access_level).where(Grant.user == user_id)


def _account(values: Any) -> Account | None:
    number, username, role, permissions, is_active, totp_confirmed_at = values
    if number is None:
        return None
    return Account(
        number, username, role, _names(permissions), bool(is_active), totp_confirmed_at is not None
    )


def _api_key(values: Any) -> Key | None:
    number, key_id, prefix, role, permissions, deployments, expires_at, last_used_at, is_active = values
    if number is None:
        return None
    narrowing = Narrowing(role, _names(permissions), _names(deployments))
    return Key(number, key_id, prefix, narrowing, _moment(expires_at), _moment(last_used_at), bool(is_active))


def _names(text: str) -> tuple[str, ...]:
    return () if text == "[]" else tuple(json.loads(text))


def _moment(value: Any) -> datetime | None:
    """A time as its driver returns it: SQLite's is text, PostgreSQL's a ``datetime``."""
    return None if value is None else _required(value)


def _required(value: Any) -> datetime:
    moment: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC)
