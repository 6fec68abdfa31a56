"""The group ``caddy`` of ``flatrun.yml``, and where its paths are below the deployments root."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from flatrun_core import SettingsSchema, fields
from flatrun_core.fields import Range, Regexp, ValidationError
from flatrun_core.ports.proxy import PANEL_SOCKET_FOLDER, PANEL_SOCKET_NAME

# No character that means anything in a Caddyfile or in a placeholder, and no `..`.
PATH: Final = re.compile(r"(?!.*/\.\.(?:/|\Z))/[A-Za-z0-9._/@+~=,-]*")
_ADDRESS: Final = re.compile(r"(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):[0-9]{1,5}")
_MAX_SOCKET: Final = 107  # bytes, what Linux takes


@dataclass(frozen=True, slots=True)
class CaddySettings:
    """What can be set; empty paths and an empty admin address are below the deployments root."""

    file: str = ""
    admin: str = ""
    program: str = "caddy"
    http_port: int = 80
    https_port: int = 443
    bind_address: str = ""
    webroot: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is, worked out of the settings and the deployments root."""

    file: Path
    admin: str
    program: str
    http_port: int
    https_port: int
    bind: str
    webroot: Path
    panel: Path

    @classmethod
    def of(cls, settings: CaddySettings, root: Path) -> "Layout":
        """Fill in what the settings leave to the root."""
        file = Path(settings.file) if settings.file else root / "caddy" / "Caddyfile"
        return cls(
            file=file,
            admin=settings.admin or f"unix/{file.parent / 'admin.sock'}",
            program=settings.program,
            http_port=settings.http_port,
            https_port=settings.https_port,
            bind=settings.bind_address,
            webroot=Path(settings.webroot) if settings.webroot else root / "nginx" / "html",
            panel=root / PANEL_SOCKET_FOLDER / PANEL_SOCKET_NAME,
        )

    def problem(self) -> str:
        """Why no Caddyfile can be made of this; empty when it can."""
        socket = self.admin.removeprefix("unix/") if self.admin.startswith("unix/") else ""
        for path in (str(self.file), str(self.webroot), str(self.panel), socket or "/"):
            if not PATH.fullmatch(path):
                return f"The path {path!r} has characters that have a meaning in a Caddyfile"
        if len(socket.encode()) > _MAX_SOCKET:
            return f"The path of Caddy's admin socket is longer than {_MAX_SOCKET} bytes; set caddy.admin"
        return ""


def path_or_empty(text: str) -> None:
    """Refuse what is no plain absolute path."""
    if text and not PATH.fullmatch(text):
        raise ValidationError("Must be an absolute path of letters, digits and ._/@+~=,- only.")


def admin_address(text: str) -> None:
    """Refuse what is neither a socket nor an address with a port."""
    if text.startswith("unix/"):
        path_or_empty(text.removeprefix("unix/") or "-")
    elif text and not (_ADDRESS.fullmatch(text) and 0 < int(text.rpartition(":")[2]) < 1 << 16):
        raise ValidationError('Must be "unix//path/to.sock" or such as "localhost:2019".')


def address_or_empty(text: str) -> None:
    """Refuse what is no address in its usual form, without a zone."""
    try:
        usual = str(ipaddress.ip_address(text)) if text else ""
    except ValueError:
        usual = "none"
    if text != usual or "%" in text:
        raise ValidationError("Must be an IP address, or empty.")


class CaddySchema(SettingsSchema):
    """How it is checked."""

    dataclass: ClassVar[type] = CaddySettings

    file = fields.String(
        validate=path_or_empty,
        metadata={"description": "The Caddyfile; empty: caddy/Caddyfile below the deployments root"},
    )
    admin = fields.String(
        validate=admin_address,
        metadata={"description": "Caddy's admin address; empty: the socket admin.sock beside the file"},
    )
    program = fields.String(
        validate=Regexp(r"\A[A-Za-z0-9._/+-]+\Z"),
        metadata={"description": "The program, by name or path; it validates and reloads"},
    )
    http_port = fields.Integer(
        validate=Range(1, 65535), metadata={"description": "Port on which Caddy answers HTTP"}
    )
    https_port = fields.Integer(
        validate=Range(1, 65535), metadata={"description": "Port on which Caddy answers HTTPS"}
    )
    bind_address = fields.String(
        validate=address_or_empty,
        metadata={"description": "Address on which it does; empty: all"},
    )
    webroot = fields.String(
        validate=path_or_empty,
        metadata={"description": "Folder of ACME challenges (certbot.webroot_path); empty: nginx/html there"},
    )
