"""The tables of the audit, as they were in the first version.

Frozen: never changed after it was released, and not the models of the program.
"""

from typing import Any

from peewee import (
    AutoField,
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    IntegerField,
    Model,
    TextField,
)


class Event(Model):
    """One event."""

    id = BigAutoField()
    event_id = CharField(max_length=36, unique=True)
    timestamp = BigIntegerField()
    actor_type = CharField(max_length=32)
    actor_id = CharField(max_length=100)
    actor_name = CharField(max_length=100)
    api_key_prefix = CharField(max_length=32)
    action = CharField(max_length=100)
    method = CharField(max_length=16)
    path = TextField()
    resource_type = CharField(max_length=100)
    resource_id = CharField(max_length=255)
    client_ip = CharField(max_length=64)
    user_agent = TextField()
    request_id = CharField(max_length=64)
    request_body = TextField()
    response_status = IntegerField()
    response_time_ms = BigIntegerField()
    success = BooleanField()
    error_message = TextField()
    metadata = TextField()
    prev_hash = CharField(max_length=64)
    hash = CharField(max_length=64)

    class Meta:
        """Where it is kept."""

        table_name = "audit_event"


class Head(Model):
    """Where the chain ends."""

    id = AutoField()
    last_id = BigIntegerField()
    last_hash = CharField(max_length=64)
    events = BigIntegerField()
    signature = TextField()

    class Meta:
        """Where it is kept."""

        table_name = "audit_head"


class Checkpoint(Model):
    """Where the chain begins after a cleanup."""

    id = AutoField()
    last_id = BigIntegerField()
    last_hash = CharField(max_length=64)
    deleted = BigIntegerField()
    total = BigIntegerField()
    time = CharField(max_length=32)
    signature = TextField()

    class Meta:
        """Where it is kept."""

        table_name = "audit_checkpoint"


class OpenRequest(Model):
    """A request that was admitted and has not ended."""

    request_id = CharField(max_length=64, primary_key=True)
    timestamp = BigIntegerField()
    actor_type = CharField(max_length=32)
    actor_id = CharField(max_length=100)
    actor_name = CharField(max_length=100)
    api_key_prefix = CharField(max_length=32)
    action = CharField(max_length=100)
    method = CharField(max_length=16)
    path = TextField()
    resource_type = CharField(max_length=100)
    resource_id = CharField(max_length=255)
    client_ip = CharField(max_length=64)
    host = CharField(max_length=255)
    pid = BigIntegerField()
    started = CharField(max_length=64)

    class Meta:
        """Where it is kept."""

        table_name = "audit_open_request"


# Each begins with what is asked for, then the time by which answers are ordered, then whatever else
# may be asked for beside it, so that counting and paging read nothing but the index.
INDEXES = {
    "resource_id": "resource_type, client_ip, actor_id, action, actor_type, success",
    "client_ip": "actor_id, action, resource_type, actor_type, success",
    "actor_id": "action, resource_type, actor_type, success",
    "action": "resource_type, actor_type, success",
    "resource_type": "actor_type, success",
}


def up(migrator: Any, db: Any) -> None:
    """Make the tables, and the chain that has no event yet."""
    tables = [Event, Head, Checkpoint, OpenRequest]
    with db.bind_ctx(tables):
        db.create_tables(tables)
        Head.create(id=1, last_id=0, last_hash="0" * 64, events=0, signature="")
    for column, more in INDEXES.items():
        db.execute_sql(f"CREATE INDEX audit_event_{column} ON audit_event ({column}, timestamp, {more})")
    # Actor types are few: most events have the same one, so what is counted must stand together.
    db.execute_sql("CREATE INDEX audit_event_actor_type ON audit_event (actor_type, timestamp)")
    db.execute_sql("CREATE INDEX audit_event_outcome ON audit_event (actor_type, success, timestamp)")
    db.execute_sql("CREATE INDEX audit_event_timestamp ON audit_event (timestamp, success)")
    db.execute_sql("CREATE INDEX audit_event_failures ON audit_event (timestamp) WHERE success = FALSE")
