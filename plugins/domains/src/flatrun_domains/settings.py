"""The group ``domain`` of ``flatrun.yml``."""

from dataclasses import dataclass
from typing import ClassVar, Final

from flatrun_core import SettingsSchema, fields
from flatrun_domains.names import DomainName

STYLES: Final = ("words", "hex", "short")


@dataclass(frozen=True, slots=True)
class DomainSettings:
    """What can be set."""

    default_domain: str = ""
    auto_subdomain: bool = False
    auto_ssl: bool = False
    subdomain_style: str = "words"
    panel_domain: str = ""
    panel_ssl: bool = True


class DomainSettingsSchema(SettingsSchema):
    """How it is checked."""

    dataclass: ClassVar[type] = DomainSettings

    default_domain = DomainName(
        blank=True, metadata={"description": "Domain below which subdomains are generated."}
    )
    auto_subdomain = fields.Boolean(
        metadata={"description": "Whether an exposed creation without a domain gets a generated one."}
    )
    auto_ssl = fields.Boolean(metadata={"description": "Whether a generated domain gets a certificate."})
    subdomain_style = fields.String(
        validate=fields.OneOf(STYLES),
        metadata={"description": "How generated subdomains look: `words`, `hex` or `short`."},
    )
    panel_domain = DomainName(
        blank=True, metadata={"description": "Domain of the panel itself; empty: it has none."}
    )
    panel_ssl = fields.Boolean(metadata={"description": "Whether the panel's domain gets a certificate."})
