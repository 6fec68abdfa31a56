"""The table of what happened to certificates, as it was in the first version.

Frozen: never changed after it was released, and not the models of the program.
"""

from typing import Any

from peewee import CharField, DateTimeField, IntegerField, Model, TextField


class State(Model):
    """What is known of one lineage beside its files."""

    name = CharField(max_length=255, primary_key=True)
    last_attempt_at = DateTimeField(null=True)
    failures = IntegerField(default=0)
    next_attempt_at = DateTimeField(null=True)
    last_error = TextField(default="")
    last_kind = CharField(max_length=64, default="")
    warnings = TextField(default="[]")
    served_fingerprint = CharField(max_length=64, default="")
    served_checked_at = DateTimeField(null=True)
    served_problem = TextField(default="")
    window_fingerprint = CharField(max_length=64, default="")
    window_start = DateTimeField(null=True)
    window_end = DateTimeField(null=True)
    window_explanation = TextField(default="")
    window_next_poll = DateTimeField(null=True)

    class Meta:
        """Where it is kept."""

        table_name = "certificates_state"


def up(migrator: Any, db: Any) -> None:
    """Make the table."""
    with db.bind_ctx([State]):
        db.create_tables([State])
