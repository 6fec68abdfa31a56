"""The files of all sites, rendered host by host and compared with what they must be where a host is new."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flatrun_core import FlatrunError
from flatrun_core.ports.proxy import PANEL, Host, Site
from flatrun_core.site_rules import check_site
from flatrun_nginx import names
from flatrun_nginx.parsing import Unreadable, parse_text
from flatrun_nginx.rendering import Renderer, Scene, in_order
from flatrun_nginx.tree import Intended, difference
from flatrun_nginx.values import Refused

_RESERVED = "The name is kept for nginx's own files, so no site can have it"


@dataclass(slots=True)
class _Piece:
    """What a host's servers say; ``checked`` once it has been parsed and compared, or stands in a file."""

    host: Host
    text: str
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A site's file as ``text``, or the ``reason`` why there is none."""

    site: Site
    key: tuple[Any, ...]
    pieces: Mapping[str, _Piece]
    text: str = ""
    reason: str = ""


@dataclass
class SiteFiles:
    """By file name: ``wanted`` texts, ``broken`` reasons why there is none, ``names`` whose they are."""

    wanted: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


class Rendered:
    """Keeps each host's text for as long as the host and all that its servers depend on stay the same."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self._kept: dict[str, Kept] = {}

    def all(self, sites: Sequence[Site], scene: Scene) -> SiteFiles:
        """The files of these sites; what was kept of others is forgotten."""
        files, kept = SiteFiles(), {}
        for site in sites:
            one = kept[site.deployment] = self.one(site, scene)
            name = file_name(site.deployment) if not one.reason else _other_name(site.deployment)
            files.names[name] = site.deployment
            if one.reason:
                files.broken[name] = one.reason
            elif site.hosts:
                files.wanted[name] = one.text
        self._kept = kept
        return files

    def one(self, site: Site, scene: Scene) -> Kept:
        """The file of one site, which takes the place of the one that was kept."""
        key = (scene.frame, scene.fragments.of_site(site.deployment), scene.layout)
        before = self._kept.get(site.deployment)
        if before is not None and before.key == key and before.site == site:
            return before
        pieces = dict(before.pieces) if before is not None and before.key == key else {}
        now = self._kept[site.deployment] = self._render(Kept(site, key, pieces), scene)
        return now

    def check(self, deployment: str, scene: Scene) -> str:
        """Parse what is new in a site's file and compare it with what it must be; why it differs.

        Each host's text is parsed by itself. Where that gives whole statements, and nothing is left open
        at its end, a row of such texts gives the same statements one after the other.
        """
        kept = self._kept[deployment]
        intended = Intended(kept.site, scene)
        for piece in kept.pieces.values():
            if piece.checked:
                continue
            try:
                parted = difference(parse_text(piece.text), intended.host(piece.host))
            except Unreadable as exc:
                parted = str(exc)
            if parted:
                return f"The file would not say what it should: {parted}"
            piece.checked = True
        return ""

    def trust(self, deployment: str) -> None:
        """Take for checked what stands in the live file already, as after a start of the panel."""
        for piece in self._kept[deployment].pieces.values():
            piece.checked = True

    def _render(self, kept: Kept, scene: Scene) -> Kept:
        site = kept.site
        if names.reserved(site.deployment):
            return Kept(site, kept.key, {}, reason=_RESERVED)
        try:
            check_site(site)
            names.check_hosts(site)
            pieces = {host.name: self._piece(site, host, kept, scene) for host in in_order(site)}
            text = self.renderer.site(site, (piece.text for piece in pieces.values()))
        except FlatrunError as exc:
            return Kept(site, kept.key, kept.pieces, reason=exc.message)
        except Refused as exc:
            return Kept(site, kept.key, kept.pieces, reason=str(exc))
        return Kept(site, kept.key, pieces, text)

    def _piece(self, site: Site, host: Host, before: Kept, scene: Scene) -> _Piece:
        piece = before.pieces.get(host.name)
        if piece is not None and piece.host == host:
            return piece
        return _Piece(host, self.renderer.host(site.deployment, host, scene))


def file_name(deployment: str) -> str:
    """The file of a deployment."""
    return f"{deployment}.conf"


def _other_name(deployment: str) -> str:
    # What cannot be rendered may be called like a file of ours, or like no file at all.
    if deployment == PANEL or (len(deployment) <= 128 and _plain(deployment)):  # noqa: PLR2004
        return file_name(deployment)
    return f"refused-{hashlib.sha256(deployment.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _plain(deployment: str) -> bool:
    return (
        not names.reserved(deployment)
        and deployment[:1].isalnum()
        and deployment.isascii()
        and all(char.isalnum() or char in "._-" for char in deployment)
    )
