"""Sites as text: one file for each, and the few that they share."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jinja2

from flatrun_core.ports.proxy import PANEL, Host, Route, Site, Tls
from flatrun_nginx import values
from flatrun_nginx.fragments import Fragments, printed
from flatrun_nginx.layout import CONF, PANEL_SOCKET, Layout
from flatrun_nginx.names import GENERATION

_MARK: Final = "# Written by Flatrun; what is changed here is replaced, and a copy of it kept. "
_HEADER: Final = re.compile(re.escape(_MARK) + r"([0-9a-f]{32})\n")
_LEAST_NAMES: Final = 1024
_LEAST_BUCKET: Final = 64


@dataclass(frozen=True, slots=True)
class Frame:
    """What files depend on beside their site.

    ``modules`` are files to load, as the container sees them; ``lua`` says that Lua is in use.
    """

    webroot: str
    ipv6: bool = False
    http2_directive: bool = False
    lua: bool = False
    modules: tuple[str, ...] = ()
    http_port: int = 80
    https_port: int = 443
    reject_unknown: bool = False
    body_size: str = "100m"


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a site's file depends on beside the site."""

    frame: Frame
    fragments: Fragments
    layout: Layout


@dataclass(frozen=True, slots=True)
class NameTable:
    """The measures of nginx's table of server names; no site's file depends on them."""

    most: int = _LEAST_NAMES
    bucket: int = _LEAST_BUCKET

    @classmethod
    def of(cls, sites: Sequence[Site]) -> "NameTable":
        """One that fits these sites."""
        names = [name for site in sites for host in site.hosts for name in (host.name, *host.aliases)]
        longest = max((len(name) for name in names), default=0)
        return cls(_power(2 * len(names), _LEAST_NAMES), _power(longest + 24, _LEAST_BUCKET))


@dataclass(frozen=True, slots=True)
class OrderedHost:
    """A host with its routes in the order of their locations, the longest path first."""

    name: str
    aliases: tuple[str, ...]
    routes: tuple[Route, ...]
    tls: Tls | None

    @classmethod
    def of(cls, host: Host) -> "OrderedHost":
        """Order the routes."""
        routes = sorted(host.routes, key=lambda route: (-len(route.path), route.path))
        return cls(host.name, host.aliases, tuple(routes), host.tls)

    @property
    def has_root(self) -> bool:
        """Whether every path has a route."""
        return any(route.path == "/" for route in self.routes)

    @property
    def by_path(self) -> bool:
        """Whether it is the path that decides who answers."""
        return any(route.path != "/" for route in self.routes)


class Renderer:
    """Templates, and the checks that every value in them goes through."""

    def __init__(self) -> None:
        # Not HTML, so nothing is escaped for it; `finalize` lets nothing through but checked values.
        self._templates = jinja2.Environment(  # noqa: S701
            loader=jinja2.PackageLoader("flatrun_nginx"),
            undefined=jinja2.StrictUndefined,
            finalize=values.finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._templates.filters.update(values.FILTERS, fragment=printed)

    def site(self, site: Site, pieces: Iterable[str]) -> str:
        """A site's file, of the pieces of its hosts in the order of ``in_order``."""
        return signed(f"# {values.name(site.deployment)}\n{''.join(pieces)}")

    def host(self, deployment: str, host: Host, scene: Scene) -> str:
        """The servers of one host, as whole lines.

        Raises ``Refused``, also for a certificate that nginx cannot see. The site has been checked.
        """
        return self._render(
            "host.j2",
            deployment=deployment,
            host=OrderedHost.of(host),
            frame=scene.frame,
            fragments=scene.fragments,
            inside=_seen_by(scene.layout),
            panel=PANEL,
            socket=PANEL_SOCKET,
            default=values.Checked(""),
        )

    def shared(self, frame: Frame, fragments: Fragments, names: NameTable) -> dict[str, str]:
        """The files that every site needs, by name, without ``default.conf``."""
        maps = self._render("maps.j2", frame=frame, fragments=fragments, names=names)
        files = {"00-flatrun-maps.conf": signed(maps)}
        if frame.modules or fragments.main:
            files["00-flatrun.main"] = signed(self._render("modules.j2", frame=frame, fragments=fragments))
        return files

    def default(self, frame: Frame, generation: str) -> str:
        """``default.conf``: names that no site has, and the one that tells the digest of the set."""
        return signed(
            self._render(
                "default.j2",
                frame=frame,
                default=values.Checked(" default_server"),
                name=GENERATION,
                generation=generation,
            )
        )

    def main(self, mime: str, folder: str = CONF) -> str:
        """The main file, which includes a folder."""
        return signed(self._render("main.j2", mime=mime, folder=folder))

    def _render(self, template: str, **context: Any) -> str:
        return self._templates.get_template(template).render(**context)


def in_order(site: Site) -> Sequence[Host]:
    """The hosts of a site as they stand in its file."""
    return sorted(site.hosts, key=lambda host: host.name)


def signed(text: str) -> str:
    """Text below a line by which it is known as ours, and as unchanged."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{_MARK}{digest}\n{text}"


def is_ours(text: str) -> bool:
    """Whether a file begins as ours do, changed since or not."""
    return _HEADER.match(text) is not None


def is_untouched(text: str) -> bool:
    """Whether a file is as we wrote it."""
    header = _HEADER.match(text)
    return header is not None and signed(text[header.end() :]) == text


def _seen_by(layout: Layout) -> Any:
    def inside(path: Any) -> str:
        try:
            return layout.inside(path)
        except ValueError as exc:
            raise values.Refused(str(exc)) from exc

    return inside


def _power(wanted: int, least: int) -> int:
    """The first power of two, from ``least`` on, that is enough."""
    size = least
    while size < wanted:
        size *= 2
    return size
