"""The table of greetings, as it was in the first version."""

from typing import Any

from peewee import CharField, DateTimeField, Model


class Greeting(Model):
    """Frozen: never changed after it was released, and not the model of the program."""

    name = CharField(max_length=100, index=True)
    text = CharField(max_length=200)
    created_at = DateTimeField(index=True)

    class Meta:
        """Where it is kept."""

        table_name = "hello_greeting"


def up(migrator: Any, db: Any) -> None:
    """Make the table."""
    with db.bind_ctx([Greeting]):
        db.create_tables([Greeting])
