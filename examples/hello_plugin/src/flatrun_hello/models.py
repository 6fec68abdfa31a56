"""The table of greetings."""

from datetime import datetime
from typing import Any

from peewee import AutoField, CharField, Model

from flatrun_core.db import UtcDateTimeField


class Greeting(Model):
    """One greeting."""

    id = AutoField()
    name = CharField(max_length=100, index=True)
    text = CharField(max_length=200)
    created_at = UtcDateTimeField(index=True)

    class Meta:
        """Where it is kept."""

        table_name = "hello_greeting"

    @classmethod
    def newest(cls, limit: int) -> "list[Any]":
        """The newest greetings."""
        return list(cls.select().order_by(cls.id.desc()).limit(limit))

    @classmethod
    def forget_before(cls, moment: datetime) -> int:
        """Delete what is older; how many went."""
        return int(cls.delete().where(cls.created_at < moment).execute())
