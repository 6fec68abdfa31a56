"""The tree that a site's file must have, made from the site alone and compared with what was rendered.

It repeats, in another form and on purpose, what the templates say: a value that broke out of its place
or a template that says something else makes the two differ, and the file is not used.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from flatrun_core.ports.proxy import PANEL, Host, Route, Site
from flatrun_nginx.fragments import nodes
from flatrun_nginx.layout import PANEL_SOCKET
from flatrun_nginx.parsing import Node
from flatrun_nginx.rendering import Scene, in_order

# Headers by which an application could be told something of the client that is not so.
_HEADERS: Final = (
    ("Host", "$host"),
    ("Upgrade", "$flatrun_upgrade"),
    ("Connection", "$connection_upgrade"),
    ("X-Real-IP", "$remote_addr"),
    ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
    ("X-Forwarded-Proto", "$scheme"),
    ("X-Forwarded-Host", "$host"),
    ("X-Forwarded-Port", "$flatrun_port"),
    ("X-Forwarded-Prefix", ""),
    ("X-Forwarded", ""),
    ("X-Forwarded-By", ""),
    ("X-Forwarded-Protocol", ""),
    ("X-Forwarded-Scheme", ""),
    ("X-Forwarded-Server", ""),
    ("X-Forwarded-Ssl", ""),
    ("X-Forwarded-Uri", ""),
    ("X-Scheme", ""),
    ("X-Url-Scheme", ""),
    ("Front-End-Https", ""),
    ("Forwarded-For", ""),
    ("True-Client-IP", ""),
    ("CF-Connecting-IP", ""),
    ("X-Client-IP", ""),
    ("X-Cluster-Client-IP", ""),
    ("X-Host", ""),
    ("X-Original-Host", ""),
    ("X-Original-URL", ""),
    ("X-Rewrite-URL", ""),
    ("Forwarded", ""),
    ("Proxy", ""),
)
_SPECIAL: Final = frozenset("()[]{}?*+-|^$\\.&~# \t\n\r\v\f")
_HTTPS: Final = 443
_REFUSAL: Final = (Node("return", ("400",)),)
_DOTS: Final = Node("if", ("$flatrun_dots",), _REFUSAL)


class Intended:
    """Builds the tree of one site."""

    def __init__(self, site: Site, scene: Scene) -> None:
        self._site = site
        self._frame = scene.frame
        self._fragments = scene.fragments
        self._layout = scene.layout

    def tree(self) -> tuple[Node, ...]:
        """Every server of the site."""
        return tuple(node for host in in_order(self._site) for node in self.host(host))

    def host(self, host: Host) -> tuple[Node, ...]:
        """The servers of one of its hosts."""
        return tuple(Node("server", (), tuple(server)) for server in self._servers(host))

    def _servers(self, host: Host) -> Iterator[list[Node]]:
        names = Node("server_name", (host.name, *host.aliases))
        plain = [*self._listen("80"), names, self._challenge()]
        if host.tls is None:
            yield [*plain, *self._content(host)]
            return
        port = "" if self._frame.https_port == _HTTPS else f":{self._frame.https_port}"
        target = f"https://$host{port}$request_uri"
        yield [*plain, Node("location", ("/",), (Node("return", ("301", target)),))]
        yield [*self._listen("443"), *self._http2(), names, *self._tls(host), *self._content(host)]

    def _listen(self, port: str) -> list[Node]:
        tls = () if port == "80" else ("ssl",) if self._frame.http2_directive else ("ssl", "http2")
        addresses = (port, f"[::]:{port}") if self._frame.ipv6 else (port,)
        return [Node("listen", (address, *tls)) for address in addresses]

    def _http2(self) -> list[Node]:
        return [Node("http2", ("on",))] if self._frame.http2_directive else []

    def _tls(self, host: Host) -> Iterator[Node]:
        if host.tls is None:
            return
        yield Node("ssl_certificate", (self._layout.inside(host.tls.chain),))
        yield Node("ssl_certificate_key", (self._layout.inside(host.tls.key),))
        if host.tls.ocsp:
            yield Node("ssl_stapling", ("on",))
        if host.tls.hsts:
            yield Node("add_header", ("Strict-Transport-Security", "$flatrun_hsts", "always"))

    def _challenge(self) -> Node:
        words = [
            ("root", self._frame.webroot),
            ("default_type", "text/plain"),
            ("access_log", "off"),
            ("log_not_found", "off"),
            ("satisfy", "any"),
            ("allow", "all"),
            ("auth_basic", "off"),
            ("limit_req", "zone=flatrun_none"),
            ("limit_conn", "flatrun_none_conn", "1"),
        ]
        if self._frame.lua:
            words += [("rewrite_by_lua_block", " return "), ("access_by_lua_block", " return ")]
        block = [Node(name, tuple(rest)) for name, *rest in [*words, ("try_files", "$uri", "=404")]]
        return Node("location", ("^~", "/.well-known/acme-challenge/"), tuple(block))

    def _content(self, host: Host) -> Iterator[Node]:
        for fragment in self._fragments.of_server(self._site.deployment):
            yield from nodes(fragment)
        routes = sorted(host.routes, key=lambda route: (-len(route.path), route.path))
        for route in routes:
            block = tuple(self._proxied(route, routes))
            if route.path == "/":
                yield Node("location", ("/",), block)
            else:
                yield Node("location", ("=", route.path), block)
                yield Node("location", (f"{route.path}/",), block)
        if all(route.path != "/" for route in routes):
            yield Node("location", ("/",), (_DOTS, Node("return", ("404",))))

    def _proxied(self, route: Route, routes: Sequence[Route]) -> Iterator[Node]:
        yield from _guards(route, routes)
        for fragment in self._fragments.of_location(self._site.deployment, route.path):
            yield from nodes(fragment)
        if route.max_body is not None:
            yield Node("client_max_body_size", (str(route.max_body),))
        yield from _target(route)
        yield Node("proxy_http_version", ("1.1",))
        yield Node("proxy_buffering", ("off",))
        yield Node("proxy_request_buffering", ("off",))
        yield Node("proxy_connect_timeout", ("60s",))
        yield Node("proxy_read_timeout", (f"{route.timeout}s",))
        yield Node("proxy_send_timeout", (f"{route.timeout}s",))
        if not _strips(route) and self._fragments.inherits(self._site.deployment, route.path):
            return
        prefix = {"X-Forwarded-Prefix": route.path} if _strips(route) else {}
        given = self._fragments.headers(self._site.deployment, route.path)
        for name, value in _HEADERS:
            if name.lower() in given:
                continue
            yield Node("proxy_set_header", (name, prefix.get(name, value)))


def difference(found: Sequence[Node], wanted: Sequence[Node]) -> str:
    """Where two trees part, or an empty text."""
    for index, want in enumerate(wanted):
        if index >= len(found):
            return f"'{want}' is missing"
        have = found[index]
        if (have.name, have.words) != (want.name, want.words):
            return f"'{have}' stands where '{want}' should"
        if (have.block is None) != (want.block is None):
            return f"'{have}' is not what it should be"
        inner = difference(have.block or (), want.block or ())
        if inner:
            return inner
    return f"'{found[len(wanted)]}' is too much" if len(found) > len(wanted) else ""


def _strips(route: Route) -> bool:
    return route.strip_prefix and route.path != "/" and route.upstream != PANEL


def _guards(route: Route, routes: Sequence[Route]) -> Iterator[Node]:
    escaped = "".join(f"\\{char}" if char in _SPECIAL else char for char in route.path)
    yield _DOTS
    if _strips(route):
        pattern = rf"^{escaped}(?:/+|(?=\?)|\z)(?<flatrun_rest>[^\x00-\x20\x7f]*)\z"
        yield Node("if", ("$request_uri", "!~", pattern), _REFUSAL)
    elif route.path != "/":
        yield Node("if", ("$request_uri", "!~", rf"^{escaped}(?:[/?]|\z)"), _REFUSAL)
    elif len(routes) > 1:
        yield Node("if", ("$request_uri", "~", "^//"), _REFUSAL)


def _target(route: Route) -> Iterator[Node]:
    if route.upstream == PANEL:
        yield Node("proxy_pass", (f"http://unix:{PANEL_SOCKET}",))
        return
    yield Node("set", ("$flatrun_target", f"{route.upstream}:{route.port}"))
    rest = "/$flatrun_rest" if _strips(route) else ""
    yield Node("proxy_pass", (f"{route.protocol}://$flatrun_target{rest}",))
    if route.protocol == "https":
        yield Node("proxy_ssl_server_name", ("on",))
        yield Node("proxy_ssl_name", ("$host",))
