"""The table of background jobs."""

from typing import Any

from peewee import AutoField, BooleanField, CharField, DateTimeField, IntegerField, Model, TextField


def up(migrator: Any, db: Any) -> None:
    """Make it."""

    class Job(Model):
        id = AutoField()
        kind = CharField()
        status = CharField(index=True)
        deployment = CharField(null=True, index=True)
        exclusive = CharField(null=True, unique=True)
        payload = TextField()
        result = TextField()
        error = TextField(default="")
        progress = IntegerField(default=0)
        message = TextField(default="")
        cancel_requested = BooleanField(default=False)
        actor = TextField()
        created_at = DateTimeField()
        started_at = DateTimeField(null=True)
        finished_at = DateTimeField(null=True)

        class Meta:
            database = db
            table_name = "core_job"

    db.create_tables([Job])
