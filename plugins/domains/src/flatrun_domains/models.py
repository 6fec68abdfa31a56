"""The tables of this plugin: what deployments were served with last, and who has what several want."""

from collections.abc import Mapping, Sequence
from typing import Any

from peewee import BooleanField, CharField, CompositeKey, Model

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


class Contest(Model):
    """A host and path that files of several deployments name, and the deployment that has it."""

    host = CharField(max_length=253)
    path = CharField(max_length=255)
    deployment = CharField(max_length=128)

    class Meta:
        """Where it is kept."""

        table_name = "domains_contests"
        primary_key = CompositeKey("host", "path")

    @classmethod
    def everything(cls) -> dict[tuple[str, str], str]:
        """Deployments by host and path."""
        return {(row.host, row.path): row.deployment for row in cls.select()}

    @classmethod
    def put_all(cls, contests: Mapping[tuple[str, str], str]) -> None:
        """Write all rows anew; there are few."""
        cls.delete().execute()
        for (host, path), deployment in contests.items():
            cls.insert(host=host, path=path, deployment=deployment).execute()


ALL = (KeptSite, Contest)
