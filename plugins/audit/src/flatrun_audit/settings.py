"""The group ``audit`` of ``flatrun.yml``."""

from dataclasses import dataclass
from typing import ClassVar, Final

from marshmallow.validate import OneOf, Range

from flatrun_core import SettingsSchema, fields

REFUSE: Final = "refuse"
CONTINUE: Final = "continue"


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What can be set."""

    enabled: bool = True
    retention_days: int = 30
    capture_request_body: bool = True
    record_reads: bool = False
    on_failure: str = REFUSE


class AuditSettingsSchema(SettingsSchema):
    """How it is checked."""

    dataclass: ClassVar[type] = AuditSettings

    enabled = fields.Boolean(metadata={"description": "Whether events are recorded, and can be read"})
    retention_days = fields.Integer(
        validate=Range(1, 36_500), metadata={"description": "Days after which events are deleted"}
    )
    capture_request_body = fields.Boolean(
        metadata={"description": "Whether the JSON body of a change is kept, without its secrets"}
    )
    record_reads = fields.Boolean(
        metadata={"description": "Whether every read is recorded, not only those of secrets"}
    )
    on_failure = fields.String(
        validate=OneOf([REFUSE, CONTINUE]),
        metadata={
            "description": "When an event cannot be written: `refuse` changes until one can be, or "
            "`continue` and count what was lost"
        },
    )
