"""The group ``users`` of ``flatrun.yml``."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from flatrun_core import SettingsSchema, fields
from flatrun_users.effective import ROLES

_SHORTEST: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class UsersSettings:
    """What can be set."""

    session_lifetime: timedelta = timedelta(hours=24)
    totp_required_roles: tuple[str, ...] = ()


def _long_enough(value: timedelta) -> None:
    if value < _SHORTEST:
        raise fields.ValidationError("Must be at least one minute.")


class UsersSettingsSchema(SettingsSchema):
    """How it is checked."""

    dataclass: ClassVar[type] = UsersSettings

    session_lifetime = fields.Duration(
        validate=_long_enough,
        metadata={"description": "How long a login lasts; those that were made before keep theirs."},
    )
    totp_required_roles = fields.List(
        fields.String(validate=fields.OneOf(ROLES)),
        metadata={
            "description": "Roles whose users must set up a second factor before they may do anything else."
        },
    )
