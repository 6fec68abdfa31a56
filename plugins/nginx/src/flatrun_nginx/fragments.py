"""What other plugins add: checked to be whole statements, and sorted by place."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from flatrun_core import Failed
from flatrun_core.ports.nginx import PLACES, Fragment
from flatrun_nginx.parsing import Node, Unreadable, parse_text
from flatrun_nginx.values import Checked

_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
# These act before a location is chosen, so also on a challenge, which nothing may hold up.
_TOO_EARLY: Final = frozenset({"return", "rewrite", "if", "break", "server_rewrite_by_lua_block"})


@dataclass(frozen=True, slots=True)
class Fragments:
    """Every fragment of an apply."""

    main: tuple[Fragment, ...] = ()
    http: tuple[Fragment, ...] = ()
    server: tuple[Fragment, ...] = ()
    location: tuple[Fragment, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    lua: bool = False

    def of_server(self, site: str) -> tuple[Fragment, ...]:
        """What goes into the servers of a site."""
        return tuple(one for one in self.server if one.site in (None, site))

    def of_location(self, site: str, path: str) -> tuple[Fragment, ...]:
        """What goes into a location of a site."""
        return tuple(one for one in self.location if one.site in (None, site) and one.path in (None, path))

    def headers(self, site: str, path: str) -> frozenset[str]:
        """The headers of requests, in lower case, that these set for a location."""
        given = [node for one in self.of_location(site, path) for node in nodes(one)]
        return frozenset(
            node.words[0].lower() for node in given if node.name == "proxy_set_header" and node.words
        )

    def inherits(self, site: str, path: str) -> bool:
        """Whether a location has the headers that stand further out: none of these sets one within."""
        within = (*self.of_server(site), *self.of_location(site, path))
        return not any("proxy_set_header" in one.text for one in within)

    def of_site(self, site: str) -> tuple[Fragment, ...]:
        """All that its file depends on."""
        return tuple(one for one in (*self.server, *self.location) if one.site in (None, site))


def collect(given: Iterable[tuple[str, Any]]) -> Fragments:
    """Sort what plugins gave, as pairs of slug and fragment.

    Raises ``Failed`` ``NGINX_FRAGMENT_INVALID`` naming the plugin whose fragment is none.
    """
    places: dict[str, list[Fragment]] = {place: [] for place in PLACES}
    files: dict[str, str] = {}
    for slug, fragment in given:
        _check(slug, fragment)
        if fragment.place == "file":
            if files.setdefault(fragment.name, fragment.text) != fragment.text:
                raise _wrong(slug, f"the file {fragment.name} is given twice")
        else:
            places[fragment.place].append(fragment)
    return Fragments(
        main=tuple(places["main"]),
        http=tuple(places["http"]),
        server=tuple(places["server"]),
        location=tuple(places["location"]),
        files=files,
        lua=any(one.lua for place in places.values() for one in place),
    )


def printed(fragment: Fragment) -> Checked:
    """A fragment for a template; its syntax has been checked."""
    return Checked(fragment.text.rstrip())


def nodes(fragment: Fragment) -> Sequence[Node]:
    """The statements of a fragment."""
    return _statements(fragment.text)


def _check(slug: str, fragment: Any) -> None:
    if not isinstance(fragment, Fragment) or fragment.place not in PLACES:
        raise _wrong(slug, "it is no fragment, or has no place")
    if fragment.place == "file":
        if not _FILE_NAME.fullmatch(fragment.name):
            raise _wrong(slug, f"{fragment.name!r} is not the name of a file")
        return
    try:
        statements = _statements(fragment.text)
    except Unreadable as exc:
        raise _wrong(slug, f"{fragment.place}: {exc}") from exc
    early = sorted({one.name for one in statements} & _TOO_EARLY)
    if fragment.place == "server" and early:
        raise _wrong(slug, f"'{early[0]}' in a server would also hold up challenges; use a location")


@lru_cache(maxsize=4096)
def _statements(text: str) -> tuple[Node, ...]:
    # A newline at the end, or a comment there would swallow what follows it.
    return parse_text(text.rstrip() + "\n")


def _wrong(slug: str, reason: str) -> Failed:
    return Failed(
        f"A fragment of the plugin {slug} for nginx is not valid: {reason}", code="NGINX_FRAGMENT_INVALID"
    )
