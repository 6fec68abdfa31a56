"""The tables of accounts, keys, sessions and access, as they were in the first version.

Frozen: never changed after it was released, and not the models of the program.
"""

from typing import Any

from peewee import (
    SQL,
    AutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    DateTimeField,
    ForeignKeyField,
    Model,
    SmallIntegerField,
    SqliteDatabase,
    TextField,
)


class User(Model):
    """An account."""

    id = AutoField()
    uid = CharField(max_length=32, unique=True)
    username = CharField(max_length=64)
    username_key = CharField(max_length=64, unique=True)
    email = CharField(max_length=254)
    password_hash = CharField(max_length=255)
    role = CharField(max_length=16)
    permissions = TextField()
    is_active = BooleanField()
    totp_secret = TextField(null=True)
    totp_confirmed_at = DateTimeField(null=True)
    totp_last_step = BigIntegerField(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()
    last_login_at = DateTimeField(null=True)

    class Meta:
        """Where it is kept."""

        table_name = "users_user"


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
    permissions = TextField()
    deployments = TextField()
    expires_at = DateTimeField(null=True)
    last_used_at = DateTimeField(null=True)
    last_used_ip = CharField(max_length=64)
    is_active = BooleanField()
    created_at = DateTimeField()

    class Meta:
        """Where it is kept."""

        table_name = "users_api_key"


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
    created_at = DateTimeField()
    last_seen_at = DateTimeField()
    expires_at = DateTimeField(index=True)
    revoked_at = DateTimeField(null=True)

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
    created_at = DateTimeField()

    class Meta:
        """Where it is kept."""

        table_name = "users_grant"
        indexes = ((("user", "deployment_name"), True),)


class RecoveryCode(Model):
    """A code that stands in for the second factor, once."""

    id = AutoField()
    user = ForeignKeyField(User, on_delete="CASCADE", backref="+")
    code_hash = CharField(max_length=64)
    used_at = DateTimeField(null=True)

    class Meta:
        """Where it is kept."""

        table_name = "users_recovery_code"


class LoginAttempt(Model):
    """A login that failed, or has not yet succeeded; counted for the throttle."""

    id = AutoField()
    client_ip = CharField(max_length=64)
    username_key = CharField(max_length=64)
    at = DateTimeField(index=True)

    class Meta:
        """Where it is kept."""

        table_name = "users_login_attempt"
        indexes = ((("client_ip", "at"), False),)


def up(migrator: Any, db: Any) -> None:
    """Make the tables.

    SQLite would give the number of the newest account, once deleted, to the next one, which then had
    the other's place in the audit and among the marks of removed deployments.
    """
    tables = [User, ApiKey, LoginSession, Grant, RecoveryCode, LoginAttempt]
    User.id.constraints = [SQL("AUTOINCREMENT")] if isinstance(db, SqliteDatabase) else []
    with db.bind_ctx(tables):
        db.create_tables(tables)
