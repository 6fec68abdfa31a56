"""From routes to a site that answers: containers connected, targets tried, certificates had."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from flatrun_core import Failed, Invalid
from flatrun_core.ports.docker import PROJECT_LABEL, SERVICE_LABEL

TLS = {"ssl": {"enabled": True}}


def test_a_certificate_is_had_and_served_and_told(bench: Any) -> None:
    result = bench.add("a.example", aliases=["www.a.example"], **TLS)["proxy_result"]
    assert bench.certificates.asked == [(("a.example", "www.a.example"), "blog")]
    assert (result["certificate_requested"], result["certificate_exists"]) == (True, True)
    assert result["certificate_results"] == [
        {"domain": "a.example", "success": True, "message": "Certificate obtained"}
    ]
    assert "ssl_error" not in result
    (host,) = bench.hosts()
    assert host.tls is not None
    assert host.aliases == ("www.a.example",)


def test_one_certificate_is_asked_for_with_all_names_of_a_domain(bench: Any) -> None:
    bench.add("a.example", aliases=["b.example"])
    bench.add("a.example", path="/x", aliases=["c.example"], **TLS)
    assert [hosts for hosts, _ in bench.certificates.asked] == [("a.example", "b.example", "c.example")]


def test_a_certificate_that_covers_everything_is_not_asked_for_again(bench: Any) -> None:
    bench.certificates.give("a.example", "www.a.example")
    result = bench.add("a.example", aliases=["www.a.example"], **TLS)["proxy_result"]
    assert bench.certificates.asked == []
    assert (result["certificate_requested"], result["certificate_exists"]) == (False, True)


def test_a_certificate_that_is_over_is_asked_for_again(bench: Any) -> None:
    bench.certificates.give("a.example", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    bench.add("a.example", **TLS)
    assert [hosts for hosts, _ in bench.certificates.asked] == [("a.example",)]


def test_another_alias_asks_for_another_certificate(bench: Any) -> None:
    domain_id = bench.add("a.example", **TLS)["domain"]["id"]
    bench.done("PUT", f"/api/deployments/blog/domains/{domain_id}", aliases=["b.example"])
    assert bench.certificates.asked[-1][0] == ("a.example", "b.example")
    assert [host.aliases for host in bench.hosts()] == [("b.example",)]


def test_who_changes_one_domain_does_not_wait_for_what_another_lacks(bench: Any) -> None:
    bench.certificates.refuse["a.example"] = Failed("the authority says nothing")
    bench.add("a.example", **TLS)
    result = bench.add("b.example")["proxy_result"]
    assert [hosts for hosts, _ in bench.certificates.asked] == [("a.example",)]
    assert "ssl_error" not in result
    bench.done("POST", "/api/proxy/setup/blog")
    assert [hosts for hosts, _ in bench.certificates.asked] == [("a.example",)] * 2


def test_without_auto_cert_none_is_asked_for(bench: Any) -> None:
    result = bench.add("a.example", ssl={"enabled": True, "auto_cert": False})["proxy_result"]
    assert bench.certificates.asked == []
    assert "ssl_error" not in result


@pytest.mark.parametrize(
    "failure",
    [
        Failed("DNS problem: NXDOMAIN", code="CERTBOT_FAILED"),
        Invalid("certbot.email is not set"),
        RuntimeError("a bug, with /paths/of the panel"),
    ],
)
def test_a_certificate_that_cannot_be_had_leaves_plain_http(bench: Any, failure: Exception) -> None:
    bench.certificates.refuse["a.example"] = failure
    result = bench.add("a.example", **TLS)["proxy_result"]
    assert (result["success"], result["virtual_host_created"]) == (True, True)
    assert (result["certificate_requested"], result["certificate_exists"]) == (True, False)
    assert result["ssl_error"].startswith("a.example: ")
    assert "/paths/of" not in result["ssl_error"]
    assert bench.hosts()[0].tls is None
    assert bench.domains()[0]["ssl"] == {"enabled": True, "auto_cert": True}


def test_what_keeps_an_authority_from_issuing_is_told(bench: Any) -> None:
    bench.certificates.sentences = ["port 80 does not answer."]
    result = bench.add("a.example", **TLS)["proxy_result"]
    assert result["ssl_message"] == "a.example: port 80 does not answer."


def test_a_certificate_that_is_not_the_one_served_is_told(bench: Any) -> None:
    bench.certificates.unconfirmed = "the proxy serves another one"
    result = bench.add("a.example", **TLS)["proxy_result"]
    assert result["ssl_error"] == "a.example: the proxy serves another one"


def test_a_certificate_that_the_proxy_does_not_take_leaves_plain_http(bench: Any) -> None:
    ensure = bench.certificates.ensure

    def broken(hosts: Any, *, deployment: Any = None) -> Any:
        made = ensure(hosts, deployment=deployment)
        bench.proxy.refuse_tls = {made.fingerprint}
        return made

    refusing = bench.proxy.apply

    def apply(sites: Any, changed: Any, force: bool) -> Any:
        for site in sites:
            for host in site.hosts:
                if host.tls and host.tls.fingerprint in getattr(bench.proxy, "refuse_tls", ()):
                    raise Failed("no such key", code="PROXY_CONFIG_FAILED", details="no such key")
        return refusing(sites, changed, force)

    bench.certificates.ensure, bench.proxy.apply = broken, apply
    result = bench.add("a.example", **TLS)["proxy_result"]
    assert "does not take" in result["ssl_error"]
    assert bench.hosts()[0].tls is None
    bench.add("b.example")
    assert [host.name for host in bench.hosts()] == ["a.example", "b.example"]


def test_without_the_plugin_there_is_a_reason_and_a_site(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(with_certificates=False)
    bench.create()
    result = bench.add("a.example", **TLS)["proxy_result"]
    assert "certificates" in result["ssl_error"]
    assert (result["success"], result["certificate_requested"]) == (True, False)
    assert [host.name for host in bench.hosts()] == ["a.example"]


def test_a_proxy_that_does_not_run_gets_its_file_and_no_certificate_is_asked_for(bench: Any) -> None:
    bench.proxy.running = False
    result = bench.add("a.example", **TLS)["proxy_result"]
    assert (result["nginx_reloaded"], result["virtual_host_created"]) == (False, True)
    assert "when the proxy starts" in result["message"]
    assert bench.certificates.asked == []
    assert result["certificate_requested"] is False


def test_targets_that_take_no_connection_are_told(bench: Any) -> None:
    bench.proxy.unreachable = {"blog-web": "blog-web:8080 takes no connection"}
    assert bench.add("a.example")["proxy_result"]["target_warnings"] == ["blog-web:8080 takes no connection"]


def test_a_running_container_joins_the_proxys_network(bench: Any) -> None:
    labels = {PROJECT_LABEL: "blog", SERVICE_LABEL: "web"}
    web = bench.engine.add("blog-web-1", state="running", labels=labels)
    api = bench.engine.add("blog-api-1", state="running", labels={**labels, SERVICE_LABEL: "api"})
    bench.add("a.example")
    assert web.networks["proxy"] == ("blog-web",)
    assert "proxy" not in api.networks


def test_an_engine_that_is_down_keeps_no_domain_from_being_added(bench: Any) -> None:
    bench.engine.down = True
    result = bench.add("a.example")["proxy_result"]
    assert result["success"] is True
    assert "network" in result["target_warnings"][0]


def test_publishing_applies_what_is_stored(bench: Any) -> None:
    bench.write("networking: {expose: true}\ndomains: [{domain: a.example, ssl: {enabled: true}}]\n")
    result = bench.routes.publish("blog")
    assert (result["domain"], result["certificate_exists"]) == ("a.example", True)
    assert bench.hosts()[0].tls is not None
    bench.write("networking: {expose: false}\ndomains: [{domain: a.example}]\n")
    assert bench.routes.publish("blog")["skipped"] is True


def test_entries_lose_tls_by_host(bench: Any) -> None:
    bench.create("shop")
    bench.add("a.example", aliases=["b.example"], **TLS)
    bench.add("c.example", "shop", **TLS)
    bench.add("d.example", "shop", **TLS)
    bench.routes.without_tls(["b.example", "c.example", "x.example"])
    assert [one["ssl"]["enabled"] for one in (*bench.domains(), *bench.domains("shop"))] == [
        False,
        False,
        True,
    ]
    assert [host.tls is None for host in (*bench.hosts(), *bench.hosts("shop"))] == [True, True, False]
