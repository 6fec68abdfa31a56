"""The group ``nginx`` of ``flatrun.yml``."""

import ipaddress
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from flatrun_core import SettingsSchema, fields
from flatrun_core.ports.settings import SettingsGroup
from flatrun_nginx import setting_rules

_SHELL: Final = re.compile(r"[;&|<>$`\\(){}\n\r*?~#!\[\]]")
_IMAGE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}")
SHORTEST_TOKEN: Final = 32  # characters


@dataclass(frozen=True, slots=True)
class NginxSettings:
    """What can be set."""

    enabled: bool = True
    image: str = "openresty/openresty:alpine"
    http_port: int = 80
    https_port: int = 443
    bind_address: str = ""
    container_name: str = "nginx"
    config_path: Path | str = ""
    reload_command: str = "nginx -s reload"
    external: bool = False
    reject_unknown_domains: bool = False
    container_webroot_path: str = "/usr/share/nginx/html"
    client_max_body_size: str = "100m"
    internal_api_token: str = field(default="", repr=False)

    @property
    def reload_args(self) -> tuple[str, ...]:
        """The reload command as an argument list."""
        return tuple(shlex.split(self.reload_command))


_DEFAULTS: Final = NginxSettings()


def _address(value: str) -> None:
    try:
        if value:
            ipaddress.ip_address(value)
    except ValueError as exc:
        raise fields.ValidationError("Must be an IP address of this host, or empty for all.") from exc


def _command(value: str) -> None:
    if not value.strip() or _SHELL.search(value):
        raise fields.ValidationError("Must be a program and its arguments; it is run without a shell.")
    try:
        shlex.split(value)
    except ValueError as exc:
        raise fields.ValidationError("Has a quote that is not closed.") from exc


def _matches(pattern: re.Pattern[str], message: str) -> fields.Regexp:
    return fields.Regexp(re.compile(rf"(?:{pattern.pattern})\Z"), error=message)


class NginxSettingsSchema(SettingsSchema):
    """How it is checked."""

    dataclass: ClassVar[type] = NginxSettings

    enabled = fields.Boolean(
        metadata={"description": "Serve sites through nginx; off leaves files as they are."}
    )
    image = fields.String(
        validate=_matches(_IMAGE, "Not the name of an image."),
        metadata={
            "description": "Image of the container; nginx 1.19.4 or later, with Lua for what needs it."
        },
    )
    http_port = fields.Port(metadata={"description": "Port of this host that answers HTTP."})
    https_port = fields.Port(metadata={"description": "Port of this host that answers HTTPS."})
    bind_address = fields.String(
        validate=_address, metadata={"description": "Address of this host to answer on; empty: all."}
    )
    container_name = fields.ContainerName(metadata={"description": "Name of the container."})
    config_path = fields.AbsolutePath(
        blank=True,
        validate=setting_rules.config_path,
        metadata={
            "description": "Folder of generated files, called `conf.d`; empty: `nginx/conf.d` in the "
            "deployments folder. Certificates and the rest stand in its parent, which is nginx's own. "
            "Counts from the next start."
        },
    )
    reload_command = fields.String(
        validate=_command,
        metadata={"description": "Program that makes nginx read its files again, run in the container."},
    )
    external = fields.Boolean(
        metadata={"description": "The container is somebody else's: never made, only told to reload."}
    )
    reject_unknown_domains = fields.Boolean(
        metadata={"description": "Close connections for names that no site has, instead of a welcome page."}
    )
    container_webroot_path = fields.String(
        validate=setting_rules.webroot,
        metadata={
            "description": "Where the container has the folder `html`, for challenges and the welcome page."
        },
    )
    client_max_body_size = fields.String(
        validate=setting_rules.size,
        metadata={"description": "Largest body of a request, where a route sets none."},
    )
    internal_api_token = fields.Secret(
        flag="",
        shortest=SHORTEST_TOKEN,
        metadata={
            "description": "What nginx shows the panel's internal routes; empty: one that was made once."
        },
    )

    @fields.validates_schema
    def _ports_differ(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("http_port", _DEFAULTS.http_port) == data.get("https_port", _DEFAULTS.https_port):
            raise fields.ValidationError("Must be another port than nginx.http_port.", "https_port")


GROUPS: Final = (SettingsGroup("nginx", NginxSettingsSchema, read_only=frozenset({"config_path"})),)
