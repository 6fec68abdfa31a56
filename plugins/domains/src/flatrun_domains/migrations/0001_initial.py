"""The tables of what was served last and of what is contested, as they were in the first version.

Frozen: never changed after it was released, and not the models of the program.
"""

from typing import Any

from peewee import BooleanField, CharField, CompositeKey, Model, TextField


class KeptSite(Model):
    """The entries a deployment was served with last."""

    deployment = CharField(max_length=128, primary_key=True)
    entries = TextField()
    kept = BooleanField()

    class Meta:
        """Where it is kept."""

        table_name = "domains_kept_sites"


class Contest(Model):
    """A host and path that several deployments want, and the one that has it."""

    host = CharField(max_length=253)
    path = CharField(max_length=255)
    deployment = CharField(max_length=128)

    class Meta:
        """Where it is kept."""

        table_name = "domains_contests"
        primary_key = CompositeKey("host", "path")


def up(migrator: Any, db: Any) -> None:
    """Make the tables."""
    with db.bind_ctx([KeptSite, Contest]):
        db.create_tables([KeptSite, Contest])
