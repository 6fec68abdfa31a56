"""The table of what happened to certificates, and of when to ask the authority again."""

from collections.abc import Collection
from typing import Any

from peewee import CharField, IntegerField, Model, TextField

from flatrun_core.db import JsonField, UtcDateTimeField


class State(Model):
    """What is known of one lineage beside its files.

    ``served_fingerprint`` is that of the certificate the running proxy was asked about last, and
    ``served_problem`` why it did not serve it, empty when it did. The window is the authority's for
    the certificate with ``window_fingerprint``.
    """

    name = CharField(max_length=255, primary_key=True)
    last_attempt_at = UtcDateTimeField(null=True)
    failures = IntegerField(default=0)
    next_attempt_at = UtcDateTimeField(null=True)
    last_error = TextField(default="")
    last_kind = CharField(max_length=64, default="")
    warnings = JsonField(default=list)
    served_fingerprint = CharField(max_length=64, default="")
    served_checked_at = UtcDateTimeField(null=True)
    served_problem = TextField(default="")
    window_fingerprint = CharField(max_length=64, default="")
    window_start = UtcDateTimeField(null=True)
    window_end = UtcDateTimeField(null=True)
    window_explanation = TextField(default="")
    window_next_poll = UtcDateTimeField(null=True)

    class Meta:
        """Where it is kept."""

        table_name = "certificates_state"

    @classmethod
    def one(cls, name: str) -> Any:
        """The row or None."""
        return cls.get_or_none(cls.name == name)

    @classmethod
    def every(cls) -> list[Any]:
        """Every row."""
        return list(cls.select())

    @classmethod
    def put(cls, name: str, **values: Any) -> None:
        """Write these columns of a row, which is made if it is not there."""
        written = [getattr(cls, column) for column in values]
        cls.insert(name=name, **values).on_conflict(conflict_target=[cls.name], preserve=written).execute()

    @classmethod
    def drop(cls, names: Collection[str]) -> None:
        """Delete the rows of these."""
        cls.delete().where(cls.name.in_(list(names))).execute()


ALL = (State,)
