"""Sites for the suite of proxy backends: good ones, every way in which one changes, and hostile values."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flatrun_core.ports.proxy import Host, Route, Site, Tls

# What no check has seen, as it may stand in a file that somebody changed by hand.
HOSTILE_HOSTS = (
    *(
        "shop.example.com;",
        "shop.example.com{",
        "}shop.example.com",
        "shop.example.com\n",
        "a\r\nb.example.com",
    ),
    *(
        '"shop.example.com',
        "shop'.example.com",
        "$host.example.com",
        "shop .example.com",
        "\tshop.example.com",
    ),
    *("shop.example.com#", "shop.example.com\\", "~^.*$", "sh\0op.example.com", "käse.example.com"),
    *("Shop.example.com", "shop.example.com.", "shop..example.com", ".example.com", "shop.*.example.com"),
    *(
        "*",
        "*.",
        "_",
        "",
        "localhost",
        "192.0.2.1",
        "[2001:db8::1]",
        "shop.example.com:80",
        "a/b.example.com",
    ),
    *(f"{'a' * 64}.example.com", ".".join(["a" * 49] * 6), "-shop.example.com", "{{shop}}.example.com"),
    *("shop.example.com,other.example.com",),
)
HOSTILE_PATHS = (
    *("/a;", "/a{", "/a}", "/a\n", "/a\r", '/a"', "/a'", "/$uri", "/a b", "/a\t", "/a\\", "/a#b", "/a?b"),
    *("/a%2e", "/a\0", "/ä", "a", "", "//", "/a//b", "/a/", "/.", "/..", "/a/../b", "/a/./b", "/a/.."),
    *("/{{a}}", "/(a|b)", "/a`b`", "/<a>", "/a^", "/a[b]", "~ /a", "= /a", f"/{'a' * 255}"),
)
HOSTILE_UPSTREAMS = (
    "",
    "web;",
    "web:80/",
    "$web",
    "web web",
    "web\n",
    "{web}",
    "-web",
    "unix:/x",
    "a/b",
    "[::1]",
)
HOSTILE_VALUES: tuple[dict[str, Any], ...] = (
    *({"port": 0}, {"port": 65536}, {"port": "80;"}, {"timeout": 0}, {"timeout": "1s;"}),
    *({"protocol": "http;"}, {"protocol": "unix"}, {"max_body": -1}, {"max_body": "1m;"}),
)
HOSTILE_DEPLOYMENTS = ("../shop", "a/b", ".hidden", "", "a\n", "a b", "a;", "x" * 129)


def site(deployment: str, *, port: int = 80) -> Site:
    """A plain site of one host, ``<deployment>.example.com``."""
    route = Route("/", f"{deployment}-web", port)
    return Site(deployment, (Host(f"{deployment}.example.com", (), (route,)),))


def with_host(deployment: str, name: str) -> Site:
    """A site of one host of that name."""
    return Site(deployment, (Host(name, (), (Route("/", f"{deployment}-web", 80),)),))


def with_alias(deployment: str, name: str) -> Site:
    """A site of one host with that alias."""
    plain = site(deployment)
    return replace(plain, hosts=(replace(plain.hosts[0], aliases=(name,)),))


def with_route(deployment: str, **values: Any) -> Site:
    """A site with a second route; ``values`` are those of ``Route``."""
    plain = site(deployment)
    route = replace(Route("/more", f"{deployment}-more", 8080), **values)
    return replace(plain, hosts=(replace(plain.hosts[0], routes=(*plain.hosts[0].routes, route)),))


def full_site(deployment: str, tls: Tls | None = None) -> Site:
    """A site of everything: two hosts, an alias, paths that begin alike, limits; ``tls`` for the second."""
    routes = (
        Route("/", f"{deployment}-web", 80),
        Route("/api", f"{deployment}-api", 3000, strip_prefix=True, timeout=300),
        Route("/api/v2", f"{deployment}-api2", 3000, max_body=0),
        Route("/api-docs", f"{deployment}-docs", 8443, protocol="https", max_body=5_000_000),
    )
    hosts = (
        Host(f"{deployment}.example.com", (f"www-{deployment}.example.com",), routes),
        Host(f"{deployment}-shop.example.com", (), (Route("/", f"{deployment}-shop", 8080),), tls),
    )
    return Site(deployment, hosts)


def _host(site: Site, **values: Any) -> Site:
    return replace(site, hosts=(replace(site.hosts[0], **values), *site.hosts[1:]))


def _route(site: Site, **values: Any) -> Site:
    first = site.hosts[0]
    changed = replace(first.routes[1], **values)
    return _host(site, routes=(first.routes[0], changed, *first.routes[2:]))


def _tls(site: Site, **values: Any) -> Site:
    second = site.hosts[1]
    assert second.tls is not None
    return replace(site, hosts=(site.hosts[0], replace(second, tls=replace(second.tls, **values))))


CHANGES: dict[str, Callable[[Site], Site]] = {
    "name": lambda site: _host(site, name="other.example.com"),
    "alias": lambda site: _host(site, aliases=(*site.hosts[0].aliases, "more.example.com")),
    "no alias": lambda site: _host(site, aliases=()),
    "wildcard": lambda site: _host(site, aliases=("*.wild.example.com",)),
    "host": lambda site: replace(site, hosts=site.hosts[:1]),
    "path": lambda site: _route(site, path="/rest"),
    "no path": lambda site: _host(site, routes=site.hosts[0].routes[:1]),
    "target": lambda site: _route(site, upstream="other-api"),
    "port": lambda site: _route(site, port=3001),
    "strip": lambda site: _route(site, strip_prefix=False),
    "timeout": lambda site: _route(site, timeout=301),
    "protocol": lambda site: _route(site, protocol="https"),
    "body": lambda site: _route(site, max_body=1_000_000),
    "no body limit": lambda site: _route(site, max_body=0),
    "no tls": lambda site: replace(site, hosts=(site.hosts[0], replace(site.hosts[1], tls=None))),
    "renewed": lambda site: _tls(site, fingerprint="ab" * 32),
    "no hsts": lambda site: _tls(site, hsts=False),
}
