"""The one table of this plugin: what deployments were served with last."""

from collections.abc import Mapping, Sequence
from typing import Any

from peewee import BooleanField, CharField, Model

from flatrun_core.db import JsonField


class KeptSite(Model):
    """The entries a deployment was served with last; with ``kept`` they outlive the deployment."""

    deployment = CharField(max_length=128, primary_key=True)
    entries = JsonField()
    kept = BooleanField()

    class Meta:
        """Where it is kept."""

        table_name = "domains_kept_sites"

    @classmethod
    def everything(cls) -> dict[str, tuple[list[dict[str, Any]], bool]]:
        """Entries and ``kept`` by deployment."""
        return {row.deployment: (row.entries, row.kept) for row in cls.select()}

    @classmethod
    def put(cls, deployment: str, entries: Sequence[Mapping[str, Any]], *, kept: bool) -> None:
        """Write one row anew."""
        cls.drop([deployment])
        cls.insert(deployment=deployment, entries=list(entries), kept=kept).execute()

    @classmethod
    def drop(cls, deployments: Sequence[str]) -> None:
        """Delete rows; absent ones are no error."""
        cls.delete().where(cls.deployment.in_(list(deployments))).execute()


ALL = (KeptSite,)
