"""What may stand in a site, so that no value of it can mean anything in a proxy's configuration.

Whoever gathers sites checks them when they are stored; a backend checks them again before it writes,
because files are also changed by hand.
"""

import re
from collections.abc import Iterator
from typing import Final

from flatrun_core.errors import Invalid
from flatrun_core.fields import host_name
from flatrun_core.ports.proxy import Host, Route, Site, Tls

MAX_HOST: Final = 253
MAX_PATH: Final = 255
MAX_TIMEOUT: Final = 86400
_MAX_PORT: Final = 65535
_WILDCARD: Final = "*."
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_UPSTREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_PATH = re.compile(r"/[A-Za-z0-9._~!*+,=:@&/-]*")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def check_site(site: Site) -> None:
    """Refuse a site with ``Invalid`` ``SITE_INVALID`` that says which value is wrong.

    Names must be in the form in which they are stored, see ``check_host``; no name stands in the
    site twice and no path twice in a host. ``options`` are not looked at.
    """
    problem = next(_problems(site), None)
    if problem is not None:
        raise Invalid(problem, code="SITE_INVALID")


def check_host(name: str) -> None:
    """Refuse what is no host name: ``fields.host_name``'s rules and form, ``*.`` may stand before it."""
    if not _is_host(name):
        raise Invalid(f"{_shown(name)} is not a host name", code="SITE_INVALID")


def check_path(path: str) -> None:
    """Refuse what is no path of a route.

    ``/`` or a slash and letters, digits or ``. _ ~ ! * + , = : @ & / -``, at most 255 characters;
    no slash at the end, no empty segment and none of dots alone.
    """
    if not _is_path(path):
        raise Invalid(f"{_shown(path)} is not a path that can be routed", code="SITE_INVALID")


def _problems(site: Site) -> Iterator[str]:
    if not _DEPLOYMENT.fullmatch(site.deployment):
        yield f"{_shown(site.deployment)} is not the name of a deployment"
    seen: set[str] = set()
    for host in site.hosts:
        yield from _of_host(host, seen)


def _of_host(host: Host, seen: set[str]) -> Iterator[str]:
    for name in (host.name, *host.aliases):
        if not _is_host(name):
            yield f"{_shown(name)} is not a host name"
        if name in seen:
            yield f"The host {_shown(name)} is named twice"
        seen.add(name)
    if not host.routes:
        yield f"The host {_shown(host.name)} has no route"
    paths = [route.path for route in host.routes]
    if len(set(paths)) < len(paths):
        yield f"A path of the host {_shown(host.name)} is routed twice"
    for route in host.routes:
        yield from _of_route(route)
    if host.tls is not None:
        yield from _of_tls(host.tls)


def _of_route(route: Route) -> Iterator[str]:
    if not _is_path(route.path):
        yield f"{_shown(route.path)} is not a path that can be routed"
    if not _UPSTREAM.fullmatch(route.upstream):
        yield f"{_shown(route.upstream)} is not the name of a target"
    if not _is_within(route.port, 1, _MAX_PORT):
        yield f"{_shown(route.port)} is not a port"
    if not _is_within(route.timeout, 1, MAX_TIMEOUT):
        yield f"{_shown(route.timeout)} is not a number of seconds from 1 to {MAX_TIMEOUT}"
    if route.protocol not in ("http", "https"):
        yield f"{_shown(route.protocol)} is not a protocol; it is http or https"
    if route.max_body is not None and not _is_within(route.max_body, 0, 2**63 - 1):
        yield f"{_shown(route.max_body)} is not a number of bytes"
    if route.strip_prefix and route.path == "/":
        yield "The path / has no prefix to be stripped"


def _of_tls(tls: Tls) -> Iterator[str]:
    for path in (tls.chain, tls.key):
        if not path.is_absolute() or not str(path).isprintable():
            yield f"{_shown(path)} is not the path of a file"
    if not _FINGERPRINT.fullmatch(tls.fingerprint):
        yield f"{_shown(tls.fingerprint)} is not the fingerprint of a certificate"


def _is_host(name: str) -> bool:
    bare = name.removeprefix(_WILDCARD)
    try:
        return len(name) <= MAX_HOST and host_name(bare) == bare
    except ValueError:
        return False


def _is_path(path: str) -> bool:
    if path == "/":
        return True
    segments = path.split("/")[1:]
    plain = all(segment.strip(".") for segment in segments)
    return len(path) <= MAX_PATH and bool(_PATH.fullmatch(path)) and plain


def _is_within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _shown(value: object) -> str:
    text = repr(str(value))
    return text if len(text) <= MAX_PATH else f"{text[:60]}..."
