"""The groups ``certbot`` and ``certificates`` of ``flatrun.yml``."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from dns import exception as dns_exception
from dns import inet

from flatrun_core import SettingsSchema, fields

PREFLIGHT: Final = ("warn", "require", "off")
PRODUCTION: Final = "https://acme-v02.api.letsencrypt.org/directory"
STAGING: Final = "https://acme-staging-v02.api.letsencrypt.org/directory"
_LONGEST_PATH: Final = 2048


@dataclass(frozen=True, slots=True)
class CertbotSettings:
    """What can be set about the authority and renewal; an empty path is the one beside nginx's files."""

    enabled: bool = False
    email: str = ""
    staging: bool = False
    server: str = ""
    ca_file: Path | str = ""
    certs_path: Path | str = ""
    webroot_path: Path | str = ""
    dns_provider: str = ""
    auto_renewal_enabled: bool = True
    renewal_threshold_days: int = 0
    renewal_check_interval: timedelta = timedelta(hours=12)
    preflight: str = "warn"
    resolver: str = ""
    http01_port: int = 80
    eab_kid: str = ""
    eab_hmac_key: str = field(default="", repr=False)

    @property
    def directory(self) -> str:
        """The address of the authority's ACME directory."""
        return self.server or (STAGING if self.staging else PRODUCTION)


@dataclass(frozen=True, slots=True)
class CertificatesSettings:
    """Who gets certificates."""

    issuer: str = "certbot"


def _directory(value: str) -> None:
    parts = urlsplit(value)
    plain = value.isascii() and value.isprintable() and " " not in value
    if value and not (plain and parts.scheme == "https" and parts.hostname and len(value) <= _LONGEST_PATH):
        raise fields.ValidationError(
            "Must be an https address, such as https://ca.example.com/acme/directory."
        )


def _live(value: Any) -> None:
    if value and Path(value).name != "live":
        raise fields.ValidationError("Must end in /live: certbot keeps the current certificates there.")


def _line(value: str) -> None:
    if not value.isascii() or not value.isprintable():
        raise fields.ValidationError("Must be printable ASCII text on one line.")


def _no_option(value: str) -> None:
    if value.startswith("-"):
        raise fields.ValidationError("Must not begin with a dash.")


def _resolver(value: str) -> None:
    host, colon, port = value.rpartition(":") if value.count(":") == 1 or "]:" in value else (value, "", "")
    if not value:
        return
    try:
        inet.af_for_address(host.strip("[]"))
    except (ValueError, dns_exception.DNSException) as exc:
        raise fields.ValidationError("Must be an IP address, with a port if it is not 53.") from exc
    if colon and not (port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):  # noqa: PLR2004
        raise fields.ValidationError("Must be an IP address, with a port if it is not 53.")


class CertbotSchema(SettingsSchema):
    """How the group ``certbot`` is checked."""

    dataclass: ClassVar[type] = CertbotSettings

    enabled = fields.Boolean(metadata={"description": "Renew certificates in the background."})
    email = fields.Email(
        blank=True,
        validate=_no_option,
        metadata={"description": "Address the authority writes to; needed to ask for certificates."},
    )
    staging = fields.Boolean(
        metadata={"description": "Ask the authority's test directory, whose certificates no browser trusts."}
    )
    server = fields.String(
        validate=[_directory, fields.Length(max=_LONGEST_PATH)],
        metadata={"description": "ACME directory of another authority; empty: Let's Encrypt."},
    )
    ca_file = fields.AbsolutePath(
        blank=True,
        metadata={
            "description": "PEM file that vouches for the ACME directory; empty: the usual authorities."
        },
    )
    certs_path = fields.AbsolutePath(
        blank=True,
        validate=_live,
        metadata={"description": "Folder `live` of certbot's; empty: `certs/live` beside nginx's files."},
    )
    webroot_path = fields.AbsolutePath(
        blank=True,
        metadata={
            "description": "Folder the proxy answers challenges from; empty: `html` beside nginx's files."
        },
    )
    dns_provider = fields.String(
        validate=[_line, _no_option, fields.Length(max=64)],
        metadata={
            "description": "Name of a DNS provider that proves all names in its zones; empty: wildcards only."
        },
    )
    auto_renewal_enabled = fields.Boolean(
        metadata={"description": "Renew certificates that say nothing themselves."}
    )
    renewal_threshold_days = fields.Integer(
        validate=fields.Range(0, 3650),
        metadata={
            "description": "Days before the end at which renewal is due, never before half of the lifetime; "
            "0: when the authority says, else after two thirds of the lifetime."
        },
    )
    renewal_check_interval = fields.Duration(
        metadata={"description": "How often is looked for certificates that are due, at most."}
    )
    preflight = fields.String(
        validate=fields.OneOf(PREFLIGHT),
        metadata={
            "description": "Look before the authority is asked whether it will succeed: `warn` goes on "
            "anyway, `require` does not ask, `off` does not look."
        },
    )
    resolver = fields.String(
        validate=[_resolver, fields.Length(max=64)],
        metadata={"description": "Address of the DNS resolver to look with; empty: the host's."},
    )
    http01_port = fields.Port(
        metadata={"description": "Port on which the authority fetches challenges; 80 for any public one."}
    )
    eab_kid = fields.String(
        validate=[_line, fields.Length(max=512)],
        metadata={"description": "Key id of an external account, where the authority asks for one."},
    )
    eab_hmac_key = fields.Secret(
        validate=[_line, fields.Length(max=512)], metadata={"description": "Key of the external account."}
    )


class CertificatesSchema(SettingsSchema):
    """How the group ``certificates`` is checked."""

    dataclass: ClassVar[type] = CertificatesSettings

    issuer = fields.String(
        validate=fields.Length(1, 64), metadata={"description": "Name of the issuer that is asked."}
    )
