"""The group ``proxy_login`` of ``flatrun.yml``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from marshmallow.validate import OneOf

from flatrun_core import Level, SettingsSchema, fields
from flatrun_core.fields import ValidationError, validates_schema

ROLES = ("viewer", "operator", "admin")  # each may more than those before it
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_TAKEN = {"authorization", "cookie", "forwarded", "host", "x-api-key", "x-forwarded-for", "x-real-ip"}
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True, slots=True)
class ProxyLoginSettings:
    """What can be set."""

    header: str = "X-Remote-User"
    groups_header: str = "X-Remote-Groups"
    trusted_proxies: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    default_role: str = ""
    grants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    night_from: str = ""
    night_until: str = ""
    night_time_zone: str = "UTC"
    night_allows: tuple[str, ...] = ()


def header_name(text: str) -> None:
    """Refuse what is no header's name, or that of a header with a meaning of its own.

    An underscore is refused too: servers fold ``X_User`` and ``X-User`` into one.
    """
    if not _HEADER.fullmatch(text) or text.lower() in _TAKEN:
        raise ValidationError("Must be the name of a header that nothing else uses, without underscores.")


def not_everybody(network: str) -> None:
    """Refuse a network that is the whole internet."""
    if network.endswith("/0"):
        raise ValidationError("Believes everybody; name the proxy's own address.")


def clock(text: str) -> None:
    """Refuse what is no time of day."""
    if text and not _CLOCK.fullmatch(text):
        raise ValidationError('Must be a time such as "22:00", or empty.')


def time_zone(text: str) -> None:
    """Refuse a time zone that the system does not know."""
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValidationError('Must be a time zone such as "Europe/Berlin".') from None


class ProxyLoginSchema(SettingsSchema):
    """How it is checked."""

    dataclass: ClassVar[type] = ProxyLoginSettings

    header = fields.String(
        validate=header_name, metadata={"description": "Header with the name of whoever logged in"}
    )
    groups_header = fields.String(
        validate=header_name, metadata={"description": "Header with their groups, separated by commas"}
    )
    trusted_proxies = fields.List(
        fields.AddressOrNetwork(validate=not_everybody),
        metadata={"description": "Addresses and networks whose two headers are believed; none: nobody's"},
    )
    roles = fields.Dict(
        keys=fields.String(),
        values=fields.String(validate=OneOf(ROLES)),
        metadata={"description": "Role of each group; of several the one that may most"},
    )
    default_role = fields.String(
        validate=OneOf(("", *ROLES)),
        metadata={"description": "Role of those in none of these groups; empty: they do not get in"},
    )
    grants = fields.Dict(
        keys=fields.String(),
        values=fields.Dict(
            keys=fields.String(), values=fields.String(validate=OneOf([one.name.lower() for one in Level]))
        ),
        metadata={"description": "Access of each group to deployments: read, write or admin"},
    )
    night_from = fields.String(
        validate=clock, metadata={"description": "When the night begins, such as 22:00; empty: never"}
    )
    night_until = fields.String(validate=clock, metadata={"description": "When it ends, such as 06:00"})
    night_time_zone = fields.String(
        validate=time_zone, metadata={"description": "Time zone of both, such as Europe/Berlin"}
    )
    night_allows = fields.List(
        fields.String(), metadata={"description": "Actions that are no deletions, such as apikeys.revoke"}
    )

    @validates_schema
    def _fits_together(self, data: dict[str, Any], **_: Any) -> None:
        if data["header"].lower() == data["groups_header"].lower():
            raise ValidationError("Must be another header than header.", "groups_header")
        if bool(data["night_from"]) != bool(data["night_until"]):
            raise ValidationError("Needs both night_from and night_until.", "night_until")
