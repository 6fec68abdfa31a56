"""The files of all sites, rendered and compared with what they must be when a site is another one."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flatrun_core import FlatrunError
from flatrun_core.ports.proxy import PANEL, Site
from flatrun_nginx import names
from flatrun_nginx.fragments import Fragments
from flatrun_nginx.layout import Layout
from flatrun_nginx.parsing import Unreadable, parse
from flatrun_nginx.rendering import Frame, Renderer
from flatrun_nginx.tree import Intended, difference
from flatrun_nginx.values import Refused

_RESERVED = "The name is kept for nginx's own files, so no site can have it"


@dataclass(frozen=True, slots=True)
class _Kept:
    key: tuple[Any, ...]
    text: str
    reason: str


@dataclass
class SiteFiles:
    """By file name: ``wanted`` texts, ``broken`` reasons why there is none, ``names`` whose they are."""

    wanted: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


class Rendered:
    """Keeps each site's text for as long as the site and all that its file depends on stay the same."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._checked: dict[str, str] = {}

    def all(
        self, sites: Sequence[Site], frame: Frame, fragments: Fragments, layout: Layout, renderer: Renderer
    ) -> SiteFiles:
        """The files of these sites."""
        files, kept = SiteFiles(), {}
        for site in sites:
            key = (site, frame, fragments.of_site(site.deployment), layout)
            one = self._kept.get(site.deployment)
            if one is None or one.key != key:
                one = _Kept(key, *_render(site, frame, fragments, layout, renderer))
            kept[site.deployment] = one
            name = file_name(site.deployment) if not one.reason else _other_name(site.deployment)
            files.names[name] = site.deployment
            if one.reason:
                files.broken[name] = one.reason
            elif site.hosts:
                files.wanted[name] = one.text
        self._kept = kept
        return files

    def check(self, path: Path, site: Site, frame: Frame, fragments: Fragments, layout: Layout) -> str:
        """Parse what was written and compare it with the tree that the site must have; why it differs."""
        text = self._kept[site.deployment].text
        if self._checked.get(site.deployment) == text:
            return ""
        try:
            parted = difference(parse(path), Intended(site, frame, fragments, layout).tree())
        except Unreadable as exc:
            parted = str(exc)
        if parted:
            return f"The file would not say what it should: {parted}"
        self._checked[site.deployment] = text
        return ""


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


def _render(
    site: Site, frame: Frame, fragments: Fragments, layout: Layout, renderer: Renderer
) -> tuple[str, str]:
    if names.reserved(site.deployment):
        return "", _RESERVED
    try:
        return renderer.site(site, frame, fragments, layout), ""
    except FlatrunError as exc:
        return "", exc.message
    except Refused as exc:
        return "", str(exc)


def by_name(sites: Sequence[Site]) -> Mapping[str, Site]:
    """Sites by the names of their files."""
    return {file_name(site.deployment): site for site in sites}
