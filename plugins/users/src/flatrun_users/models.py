"""Tables of accounts, keys, sessions and access.

Lists and times are as everywhere; a role of "" and an empty list mean that a key or a user has none
of its own. ``username_key`` is the name in lower case: names are unique ignoring case.
"""

import secrets
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from peewee import (
    JOIN,
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    ForeignKeyField,
    Model,
    SmallIntegerField,
    TextField,
    fn,
)

from flatrun_core.db import JsonField, UtcDateTimeField, now


class User(Model):
    """An account."""

    id = AutoField()
    uid = CharField(max_length=32, unique=True)
    username = CharField(max_length=64)
    username_key = CharField(max_length=64, unique=True)
    email = CharField(max_length=254)
    password_hash = CharField(max_length=255)
    role = CharField(max_length=16)
    permissions = JsonField()
    is_active = BooleanField()
    totp_secret = TextField(null=True)
    totp_confirmed_at = UtcDateTimeField(null=True)
    totp_last_step = BigIntegerField(null=True)
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()
    last_login_at = UtcDateTimeField(null=True)

    class Meta:
        """Where it is kept."""

        table_name = "users_user"

    @classmethod
    def one(cls, user_id: int, *, lock: bool = False) -> Any:
        """The row or None; with ``lock`` nobody else changes it before the transaction ends."""
        query = cls.select().where(cls.id == user_id)
        return (_locked(cls, query) if lock else query).first()

    @classmethod
    def named(cls, username: str, *, lock: bool = False) -> Any:
        """The row of that name, ignoring case, or None."""
        query = cls.select().where(cls.username_key == username.lower())
        return (_locked(cls, query) if lock else query).first()

    @classmethod
    def make(
        cls, username: str, password_hash: str, role: str, permissions: Iterable[str] = (), email: str = ""
    ) -> Any:
        """A new active account; ``IntegrityError`` when the name is taken."""
        moment = now()
        return cls.create(
            uid=uuid.uuid4().hex,
            username=username,
            username_key=username.lower(),
            email=email,
            password_hash=password_hash,
            role=role,
            permissions=list(permissions),
            is_active=True,
            created_at=moment,
            updated_at=moment,
        )

    def change(self, **values: Any) -> None:
        """Write these columns and when that was, and no other."""
        if "username" in values:
            values["username_key"] = values["username"].lower()
        values["updated_at"] = now()
        for name, value in values.items():
            setattr(self, name, value)
        self.save(only=list(values))

    @classmethod
    def newest_first(cls) -> list[Any]:
        """Every row."""
        return list(cls.select().order_by(cls.id.desc()))

    @classmethod
    def log_in(cls, checked: Any, columns: Mapping[str, Any]) -> bool:
        """Change a row at its login; False when it is not any more what was checked, or not active."""
        same = (cls.id == checked.id) & (cls.password_hash == checked.password_hash) & cls.is_active
        confirmed = checked.totp_confirmed_at
        same &= cls.totp_confirmed_at.is_null() if confirmed is None else cls.totp_confirmed_at == confirmed
        return bool(cls.update(**columns).where(same).execute())

    @classmethod
    def take_totp_step(cls, user_id: int, step: int) -> bool:
        """Whether no code of that time or a later one was taken before; from here on none is."""
        unused = cls.totp_last_step.is_null() | (cls.totp_last_step < step)
        return bool(cls.update(totp_last_step=step).where((cls.id == user_id) & unused).execute())

    @classmethod
    def begin_totp(cls, user_id: int, secret: str, step: int) -> None:
        """Ask for the second factor from here on, and for a later code than that of ``step``."""
        begun = {"totp_secret": secret, "totp_confirmed_at": now(), "totp_last_step": step}
        cls.update(**begun).where(cls.id == user_id).execute()

    @classmethod
    def forget_totp(cls, user_id: int) -> bool:
        """Take the second factor from an account; whether there was one."""
        had = (cls.id == user_id) & cls.totp_secret.is_null(False)
        nothing = {"totp_secret": None, "totp_confirmed_at": None, "totp_last_step": None}
        return bool(cls.update(**nothing).where(had).execute())

    @classmethod
    def active_of_role(cls, role: str) -> list[int]:
        """Numbers of the active accounts of that role, oldest first."""
        active = cls.select(cls.id).where((cls.role == role) & cls.is_active).order_by(cls.id)
        return [row.id for row in active]

    @classmethod
    def lock_admins(cls, role: str) -> list[int]:
        """Numbers of the active accounts of that role, oldest first; none leaves it meanwhile.

        Whoever takes these rows and one more takes these first, so that two cannot wait for each other.
        """
        active = cls.select(cls.id).where((cls.role == role) & cls.is_active).order_by(cls.id)
        return [row.id for row in _locked(cls, active)]


class ApiKey(Model):
    """A key that acts for its owner, and only narrower."""

    id = AutoField()
    key_id = CharField(max_length=12, unique=True)
    user = ForeignKeyField(User, on_delete="CASCADE", backref="+")
    made_by = ForeignKeyField("self", null=True, on_delete="CASCADE", backref="+")
    name = CharField(max_length=100)
    description = TextField()
    key_hash = CharField(max_length=64, unique=True)
    key_prefix = CharField(max_length=24)
    role = CharField(max_length=16)
    permissions = JsonField()
    deployments = JsonField()
    expires_at = UtcDateTimeField(null=True)
    last_used_at = UtcDateTimeField(null=True)
    last_used_ip = CharField(max_length=64)
    is_active = BooleanField()
    created_at = UtcDateTimeField()

    class Meta:
        """Where it is kept."""

        table_name = "users_api_key"

    @classmethod
    def one(cls, key_id: int, *, lock: bool = False) -> Any:
        """The row or None; with ``lock`` nobody else changes it before the transaction ends."""
        query = cls.select().where(cls.id == key_id)
        return (_locked(cls, query) if lock else query).first()

    @classmethod
    def newest_first(cls, user_id: int | None = None) -> list[Any]:
        """Every row, or those of one user."""
        query = cls.select().order_by(cls.id.desc())
        return list(query if user_id is None else query.where(cls.user == user_id))

    @classmethod
    def make(cls, **values: Any) -> Any:
        """A new active key."""
        return cls.create(key_id=secrets.token_hex(6), last_used_ip="", is_active=True, **values)

    @classmethod
    def deactivate(cls, key_ids: Iterable[int]) -> None:
        """Revoke these."""
        cls.update(is_active=False).where(cls.id.in_(list(key_ids))).execute()

    @classmethod
    def drop(cls, key_id: int) -> None:
        """Delete one, and with it what was made by it."""
        cls.delete().where(cls.id == key_id).execute()

    def limit_to(self, deployments: list[str]) -> None:
        """Write another list of deployments, and nothing else."""
        self.deployments = deployments
        self.save(only=["deployments"])

    @classmethod
    def use(cls, key_id: int, key_hash: str, client_ip: str) -> bool:
        """Write that a key is used now; False for one that was revoked, has expired or is no more."""
        alive = cls.is_active & (cls.expires_at.is_null() | (cls.expires_at > now()))
        same = (cls.id == key_id) & (cls.key_hash == key_hash)
        used = {"last_used_at": now(), "last_used_ip": client_ip}
        return bool(cls.update(**used).where(same & alive).execute())

    @classmethod
    def made_by_any(cls, key_ids: Iterable[int]) -> list[int]:
        """Numbers of the keys that these keys made."""
        return [row.id for row in cls.select(cls.id).where(cls.made_by.in_(list(key_ids)))]

    @classmethod
    def limited(cls) -> list[Any]:
        """Rows of keys that name deployments."""
        return list(_locked(cls, cls.select().where(fn.LENGTH(cls.deployments) > len("[]")).order_by(cls.id)))


class LoginSession(Model):
    """What a login token stands for; the token itself is not kept."""

    id = AutoField()
    token_id = CharField(max_length=32, unique=True)
    user = ForeignKeyField(User, null=True, on_delete="CASCADE", backref="+")
    api_key = ForeignKeyField(ApiKey, null=True, on_delete="CASCADE", backref="+")
    static_key_hash = CharField(max_length=64)
    client_ip = CharField(max_length=64)
    user_agent = CharField(max_length=255)
    totp_pending = TextField(null=True)
    created_at = UtcDateTimeField()
    last_seen_at = UtcDateTimeField()
    expires_at = UtcDateTimeField(index=True)
    revoked_at = UtcDateTimeField(null=True)

    @classmethod
    def live(cls) -> Any:
        """A query of those that are neither revoked nor expired."""
        return cls.select().where(cls.revoked_at.is_null() & (cls.expires_at > now()))

    @classmethod
    def alive(cls, session_id: int) -> Any:
        """The row of one that is neither revoked nor expired, or None."""
        return cls.live().where(cls.id == session_id).first()

    def keep_pending(self, secret: str | None) -> None:
        """Write the secret of a second factor that is being set up in this session, None for none."""
        self.totp_pending = secret
        self.save(only=["totp_pending"])

    @classmethod
    def revoke_where(cls, wanted: Any) -> int:
        """End the live ones that an expression names; how many."""
        alive = cls.revoked_at.is_null() & (cls.expires_at > now())
        return int(cls.update(revoked_at=now()).where(wanted & alive).execute())

    @classmethod
    def delete_dead(cls) -> int:
        """Delete the revoked and the expired ones; how many."""
        dead = cls.revoked_at.is_null(False) | (cls.expires_at <= now())
        return int(cls.delete().where(dead).execute())

    class Meta:
        """Where it is kept."""

        table_name = "users_session"


class Grant(Model):
    """Access of one user to one deployment."""

    id = AutoField()
    user = ForeignKeyField(User, on_delete="CASCADE", backref="+")
    deployment_name = CharField(max_length=128, index=True)
    access_level = SmallIntegerField()
    granted_by = ForeignKeyField(User, null=True, on_delete="SET NULL", backref="+")
    created_at = UtcDateTimeField()

    class Meta:
        """Where it is kept."""

        table_name = "users_grant"
        indexes = ((("user", "deployment_name"), True),)

    @classmethod
    def of_user(cls, user_id: int) -> list[Any]:
        """A user's rows, by deployment."""
        return list(cls.select().where(cls.user == user_id).order_by(cls.deployment_name))

    @classmethod
    def of_deployment(cls, name: str) -> list[Any]:
        """Rows on a deployment with their users, in the order they were given."""
        query = cls.select(cls, User).join(User, JOIN.INNER, on=(cls.user == User.id))
        return list(query.where(cls.deployment_name == name).order_by(cls.id))

    @classmethod
    def one(cls, user_id: int, name: str) -> Any:
        """The row or None."""
        return cls.get_or_none((cls.user == user_id) & (cls.deployment_name == name))

    @classmethod
    def levels_of(cls, user_id: int) -> dict[str, int]:
        """A user's levels by deployment."""
        return {row.deployment_name: row.access_level for row in cls.of_user(user_id)}

    @classmethod
    def count_of(cls, user_id: int) -> int:
        """How many deployments a user was given."""
        return int(cls.select().where(cls.user == user_id).count())

    @classmethod
    def counts(cls) -> Mapping[int, int]:
        """How many deployments each user was given; who has none is not in it."""
        query: Any = cls.select(cls.user, fn.COUNT(cls.id)).group_by(cls.user).tuples()
        return dict(query)

    @classmethod
    def put(cls, user_id: int, name: str, level: int, granted_by: int | None, moment: datetime) -> None:
        """Give, or change what was given; who gave it first, and when, stays."""
        row = {
            "user": user_id,
            "deployment_name": name,
            "access_level": level,
            "granted_by": granted_by,
            "created_at": moment,
        }
        same = [cls.user, cls.deployment_name]
        cls.insert(row).on_conflict(conflict_target=same, preserve=[cls.access_level]).execute()

    @classmethod
    def drop(cls, name: str, user_id: int | None = None) -> int:
        """Delete the rows on a deployment, all or one user's; how many went."""
        where = cls.deployment_name == name
        if user_id is not None:
            where &= cls.user == user_id
        return int(cls.delete().where(where).execute())


class RecoveryCode(Model):
    """A code that stands in for the second factor, once."""

    id = AutoField()
    user = ForeignKeyField(User, on_delete="CASCADE", backref="+")
    code_hash = CharField(max_length=64)
    used_at = UtcDateTimeField(null=True)

    class Meta:
        """Where it is kept."""

        table_name = "users_recovery_code"

    @classmethod
    def use(cls, user_id: int, code_hash: str) -> bool:
        """Whether the user has that code and nobody used it before; nobody can from here on."""
        same = (cls.user == user_id) & (cls.code_hash == code_hash) & cls.used_at.is_null()
        return bool(cls.update(used_at=now()).where(same).execute())

    @classmethod
    def put(cls, user_id: int, hashes: Iterable[str]) -> None:
        """Give a user these codes, in place of all that there were."""
        cls.delete().where(cls.user == user_id).execute()
        rows = [{"user": user_id, "code_hash": one} for one in hashes]
        if rows:
            cls.insert_many(rows).execute()


class LoginAttempt(Model):
    """A login that failed, or has not yet succeeded; counted for the throttle."""

    id = AutoField()
    client_ip = CharField(max_length=64)
    username_key = CharField(max_length=64)
    at = UtcDateTimeField(index=True)

    class Meta:
        """Where it is kept."""

        table_name = "users_login_attempt"
        indexes = ((("client_ip", "at"), False),)

    @classmethod
    def of_address(cls, client_ip: str, since: datetime, until: datetime) -> list[tuple[str, datetime]]:
        """Names and times of the attempts from an address after ``since`` up to ``until``, oldest first."""
        wanted = (cls.client_ip == client_ip) & (cls.at > since) & (cls.at <= until)
        query = cls.select(cls.username_key, cls.at).where(wanted).order_by(cls.at)
        rows: list[tuple[str, datetime]] = list(query.tuples())  # type: ignore[arg-type]
        return rows

    @classmethod
    def drop(cls, wanted: Any) -> int:
        """Delete those that an expression names; how many went."""
        return int(cls.delete().where(wanted).execute())


def _locked(model: Any, query: Any) -> Any:
    """For update; SQLite knows no locks of rows, there a transaction that writes has the whole file."""
    return query.for_update() if model._meta.database.for_update else query


ALL = (User, ApiKey, LoginSession, Grant, RecoveryCode, LoginAttempt)
