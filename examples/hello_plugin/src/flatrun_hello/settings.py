"""The group ``hello`` of ``flatrun.yml``."""

from dataclasses import dataclass
from typing import ClassVar

from marshmallow.validate import Length, Range

from flatrun_core import SettingsSchema, fields


@dataclass(frozen=True, slots=True)
class HelloSettings:
    """What can be set."""

    greeting: str = "Welcome"
    keep_days: int = 30


class HelloSettingsSchema(SettingsSchema):
    """How it is checked."""

    dataclass: ClassVar[type] = HelloSettings

    greeting = fields.String(
        load_default="Welcome", validate=Length(1, 40), metadata={"description": "The word that greets"}
    )
    keep_days = fields.Integer(
        load_default=30,
        validate=Range(1, 3650),
        metadata={"description": "Days after which greetings are forgotten"},
    )
