"""Where nginx's files stand on this host, and where its container sees them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flatrun_core.ports.nginx import LUA_FOLDER
from flatrun_core.ports.proxy import PANEL_SOCKET_FOLDER, PANEL_SOCKET_NAME

CONF: Final = "/etc/nginx/conf.d"
CERTS: Final = "/etc/letsencrypt"
SSL: Final = "/etc/nginx/ssl"
LUA: Final = LUA_FOLDER.rstrip("/")
PANEL_FOLDER: Final = "/run/flatrun"
PANEL_SOCKET: Final = f"{PANEL_FOLDER}/{PANEL_SOCKET_NAME}"

# Not under the name of the main file: the pattern that includes the sites must not include it.
STAGED_SET: Final = "set"
STAGED_MAIN: Final = "nginx.conf"
_PLAIN: Final = re.compile(r"(/[A-Za-z0-9@._+-]+)+")


@dataclass(frozen=True, slots=True)
class Layout:
    """``root`` is the deployments folder, ``conf`` the folder of generated files on this host."""

    root: Path
    conf: Path
    webroot: str

    @classmethod
    def of(cls, root: Path, config_path: Path | str, webroot: str) -> "Layout":
        """The places that the settings name."""
        conf = Path(config_path) if config_path else root / "nginx" / "conf.d"
        return cls(root, conf, webroot.rstrip("/") or "/")

    @property
    def folder(self) -> Path:
        """What holds everything of nginx."""
        return self.conf.parent

    @property
    def main(self) -> Path:
        """The main file."""
        return self.folder / "nginx.conf"

    @property
    def lua(self) -> Path:
        """Files of fragments."""
        return self.folder / "lua"

    @property
    def state(self) -> Path:
        """The panel's own folder, which only its user enters."""
        return self.root / ".flatrun"

    def mounts(self) -> Mapping[Path, str]:
        """Folders of this host, with what the container sees them as; it writes to none of them."""
        return {
            self.conf: CONF,
            # Beside these, certbot keeps keys of accounts. Links in the first lead to the second.
            self.folder / "certs" / "live": f"{CERTS}/live",
            self.folder / "certs" / "archive": f"{CERTS}/archive",
            self.folder / "html": self.webroot,
            self.folder / "ssl": SSL,
            self.lua: LUA,
            self.root / PANEL_SOCKET_FOLDER: PANEL_FOLDER,
        }

    def inside(self, path: Path) -> str:
        """A file of this host as the container sees it.

        Raises ``ValueError`` where it sees none, or where the name is not a plain one.
        """
        for folder, seen in self.mounts().items():
            if path.is_relative_to(folder):
                name = f"{seen}/{path.relative_to(folder)}"
                if ".." in path.parts or not _PLAIN.fullmatch(name):
                    break
                return name
        raise ValueError(
            f"nginx's container cannot see {self.told(str(path))}; of certificates it sees what is below "
            "certs/live, certs/archive and ssl in nginx's folder"
        )

    def told(self, text: str) -> str:
        """A text whose paths of this host are relative to nginx's folder, for people who are elsewhere."""
        for folder in (self.folder, self.root):
            text = text.replace(f"{folder}/", "").replace(str(folder), folder.name)
        return text

    def ensure(self) -> None:
        """Make the folders that are mounted; raises ``OSError``."""
        for folder in self.mounts():
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)


def has_ipv6() -> bool:
    """Whether this host has IPv6, as its kernel tells."""
    try:
        return bool(Path("/proc/net/if_inet6").read_text())
    except OSError:
        return False
