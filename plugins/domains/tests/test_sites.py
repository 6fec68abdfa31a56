"""Entries laid out as sites: hosts and routes in order, and TLS where a certificate covers a name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.ports.proxy import PANEL, Tls
from flatrun_domains.registry import REGISTRY

TLS = {"ssl": {"enabled": True, "auto_cert": False}}


def test_hosts_are_sorted_and_the_longest_path_comes_first(bench: Any) -> None:
    for domain, path in (("b.example", "/"), ("a.example", "/"), ("a.example", "/x"), ("a.example", "/x/y")):
        bench.add(domain, path=path)
    assert [(host.name, [route.path for route in host.routes]) for host in bench.hosts()] == [
        ("a.example", ["/x/y", "/x", "/"]),
        ("b.example", ["/"]),
    ]


def test_an_alias_has_the_routes_of_its_entries_only(bench: Any) -> None:
    bench.add("a.example", aliases=["www.a.example"])
    bench.add("a.example", path="/api", service="api", port=3000)
    assert [(host.name, [route.path for route in host.routes]) for host in bench.hosts()] == [
        ("a.example", ["/api", "/"]),
        ("www.a.example", ["/"]),
    ]


def test_the_protocol_and_limits_of_a_target_are_its_routes(bench: Any) -> None:
    bench.write(
        "networking: {expose: true, protocol: https}\n"
        "domains: [{domain: a.example, proxy_timeout: 5, max_body_size: 0}]\n"
    )
    bench.look()
    (route,) = bench.hosts()[0].routes
    assert (route.protocol, route.timeout, route.max_body) == ("https", 5, 0)


def test_only_what_is_exposed_is_served(bench: Any) -> None:
    bench.write("networking: {expose: false}\ndomains: [{domain: a.example}]\n")
    bench.look()
    assert bench.proxy.sites == {}
    assert bench.routes.networks("blog") == {}


def test_a_host_is_served_by_tls_where_a_certificate_is(bench: Any) -> None:
    known = bench.certificates.give("a.example", "www.a.example", ocsp=True)
    bench.add("a.example", aliases=["www.a.example", "new.a.example"], **TLS)
    secure, plain = sorted(bench.hosts(), key=lambda host: host.tls is None)
    assert (secure.name, secure.aliases) == ("a.example", ("www.a.example",))
    assert secure.tls == Tls(known.chain, known.key, known.fingerprint, ocsp=True, hsts=True)
    assert (plain.name, plain.aliases, plain.tls) == ("new.a.example", (), None)
    assert plain.routes == secure.routes


def test_who_wants_no_tls_has_none(bench: Any) -> None:
    bench.certificates.give("a.example")
    bench.add("a.example")
    assert bench.hosts()[0].tls is None
    assert not bench.routes.wants_tls("a.example")


def test_a_staging_certificate_asks_nobody_to_stay(bench: Any) -> None:
    bench.certificates.give("a.example", staging=True)
    bench.add("a.example", **TLS)
    assert bench.hosts()[0].tls.hsts is False


def test_a_wildcard_covers_one_label(bench: Any) -> None:
    bench.certificates.give("example.com", "*.example.com")
    bench.add("a.example.com", aliases=["a.b.example.com"], **TLS)
    assert {host.name: host.tls is not None for host in bench.hosts()} == {
        "a.example.com": True,
        "a.b.example.com": False,
    }


def test_one_certificate_is_looked_for_once_a_host(bench: Any) -> None:
    bench.add("a.example", aliases=["www.a.example"], **TLS)
    bench.add("a.example", path="/x", **TLS)
    bench.add("b.example")
    registry = bench.service(REGISTRY)
    bench.certificates.lookups = 0
    first = registry.sites()
    # For a.example and for its alias, which has other routes.
    assert bench.certificates.lookups == 1
    assert registry.sites()[0] is first[0]


def test_a_change_of_one_deployment_makes_no_other_site_anew(bench: Any) -> None:
    bench.create("shop")
    bench.add("a.example")
    bench.add("b.example", "shop")
    registry = bench.service(REGISTRY)
    before = {site.deployment: site for site in registry.sites()}
    bench.add("c.example", "shop")
    after = {site.deployment: site for site in registry.sites()}
    assert after["blog"] is before["blog"]
    assert after["shop"] != before["shop"]


def test_hosts_that_belong_together_are_named_for_a_certificate(bench: Any) -> None:
    bench.add("a.example", aliases=["www.a.example"], **TLS)
    bench.add("a.example", path="/x", aliases=["x.a.example"])
    routes = bench.routes
    together = ("a.example", "www.a.example", "x.a.example")
    assert routes.together("a.example") == together
    assert routes.together("x.a.example") == together
    assert routes.together("b.example") == ()
    assert routes.owner("x.a.example") == "blog"
    assert routes.owner("b.example") is None
    assert routes.hosts() == dict.fromkeys(together, "blog")
    assert routes.wants_tls("a.example")


def test_services_that_are_routed_have_an_alias_on_the_network(bench: Any) -> None:
    bench.add("a.example")
    bench.add("b.example", service="api")
    assert bench.routes.networks("blog") == {"web": ("blog-web",), "api": ("blog-api",)}


def test_the_panel_has_a_site_of_its_own(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(**{"domain.panel_domain": "panel.example"})
    bench.look()
    (host,) = bench.hosts(PANEL)
    assert (host.name, host.routes[0].upstream, host.tls) == ("panel.example", PANEL, None)
    bench.certificates.give("panel.example")
    bench.look()
    assert bench.hosts(PANEL)[0].tls is not None
    assert bench.routes.together("panel.example") == ("panel.example",)
    assert bench.routes.wants_tls("panel.example")


@pytest.mark.parametrize("compose", ["services: [", "services: {web: {image: 1}}"])
def test_a_deployment_in_error_is_served_all_the_same(bench: Any, compose: str) -> None:
    bench.add("a.example")
    (bench.root / "blog" / "docker-compose.yml").write_text(compose)
    bench.look()
    assert [host.name for host in bench.hosts()] == ["a.example"]


def test_what_was_served_stays_while_the_file_cannot_be_read(bench: Any) -> None:
    bench.add("a.example")
    bench.create("shop")
    bench.write("domains: [")
    bench.add("b.example", "shop")
    assert [host.name for host in bench.hosts()] == ["a.example"]
    bench.refused(409, "DOMAIN_EXISTS", "POST", "/api/deployments/shop/domains", domain="a.example")
    status = bench.client.get("/api/proxy/vhosts").get_json()
    assert [one["deployment_name"] for one in status["left_out"]] == ["blog"]


def test_what_was_served_stays_for_a_panel_that_starts_anew(
    bench: Any, make_bench: Callable[..., Any]
) -> None:
    bench.add("a.example", path="/x", aliases=["b.example"], proxy_timeout=7)
    before = bench.hosts()
    bench.write("domains: [")
    again = make_bench()
    again.proxy.sites = {}
    again.look()
    assert again.hosts() == before
    again.write("networking: {expose: true}\ndomains: [{domain: c.example}]\n")
    again.look()
    assert [host.name for host in again.hosts()] == ["c.example"]


def test_a_key_of_a_certificate_is_a_path_of_the_host(bench: Any) -> None:
    bench.certificates.give("a.example")
    bench.add("a.example", **TLS)
    assert bench.hosts()[0].tls.key == Path("/certs/a.example/privkey.pem")
