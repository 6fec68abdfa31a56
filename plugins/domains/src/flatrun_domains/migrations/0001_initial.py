"""The table of what deployments were served with last, as it was in the first version.

Frozen: never changed after it was released, and not the models of the program.
"""

from typing import Any

from peewee import BooleanField, CharField, Model, TextField


class KeptSite(Model):
    """The entries a deployment was served with last."""

    deployment = CharField(max_length=128, primary_key=True)
    entries = TextField()
    kept = BooleanField()

    class Meta:
        """Where it is kept."""

        table_name = "domains_kept_sites"


def up(migrator: Any, db: Any) -> None:
    """Make the table."""
    with db.bind_ctx([KeptSite]):
        db.create_tables([KeptSite])
