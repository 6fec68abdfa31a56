"""The routes of the proxy: status, setup, removal, the list of sites, generated names."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Failed, Level

PLAIN = {
    "deployment_name": "blog",
    "exposed": False,
    "virtual_host_exists": False,
    "ssl_enabled": False,
    "certificate_exists": False,
}


def status(bench: Any, name: str = "blog") -> dict[str, Any]:
    found: dict[str, Any] = bench.client.get(f"/api/proxy/status/{name}").get_json()["status"]
    return found


def setup(bench: Any, **body: Any) -> dict[str, Any]:
    answer = bench.done("POST", "/api/proxy/setup/blog", **body)
    assert answer["message"] == "Proxy setup completed"
    result: dict[str, Any] = answer["result"]
    return result


def test_status_of_a_deployment_without_domains(bench: Any) -> None:
    assert status(bench) == PLAIN
    assert bench.client.get("/api/deployments/blog").get_json()["proxy_status"] == PLAIN
    bench.refused(404, "DEPLOYMENT_NOT_FOUND", "GET", "/api/proxy/status/nope")


def test_status_of_a_deployment_with_domains(bench: Any) -> None:
    bench.add("a.example", aliases=["b.example"], ssl={"enabled": True})
    bench.add("a.example", path="/x")
    found = status(bench)
    assert (found["exposed"], found["virtual_host_exists"], found["ssl_enabled"]) == (True, True, True)
    assert (found["domain"], found["domains"]) == ("a.example", ["a.example", "b.example"])
    assert found["domains_config"] == bench.domains()
    assert found["certificate_exists"] is True
    assert found["certificate"] == found["certificates"][0]
    shown = found["certificate"]
    assert (shown["domain"], shown["status"], shown["days_left"]) == ("a.example", "valid", 59)
    assert (shown["deployment_id"], shown["path"]) == ("blog", "/certs/a.example/cert.pem")


def test_status_of_a_site_that_the_proxy_refuses(bench: Any) -> None:
    bench.add("a.example")
    bench.create("shop")
    bench.proxy.refuse = {"blog": "a broken fragment"}
    bench.add("b.example", "shop")
    found = status(bench)
    assert (found["quarantined"], found["quarantine_reason"]) == (True, "a broken fragment")
    assert found["virtual_host_exists"] is False
    assert bench.hosts("shop")


def test_setup_makes_the_primary_domain(bench: Any) -> None:
    result = setup(bench, domain="A.example", port=3000, ssl=True)
    assert (result["domain"], result["success"], result["skipped"]) == ("a.example", True, False)
    assert result["certificate_exists"] is True
    (domain,) = bench.domains()
    assert (domain["port"], domain["ssl"]) == (3000, {"enabled": True, "auto_cert": True})
    assert setup(bench, domain="b.example")["domain"] == "b.example"
    (changed,) = bench.domains()
    assert changed == {**domain, "domain": "b.example"}
    setup(bench, port=81, ssl=False)
    (again,) = bench.domains()
    assert (again["domain"], again["port"], again["ssl"]["enabled"]) == ("b.example", 81, False)


def test_setup_without_any_domain_is_skipped(bench: Any) -> None:
    result = bench.done("POST", "/api/proxy/setup/blog")["result"]
    assert (result["skipped"], result["success"]) == (True, False)
    assert "not exposed" in result["message"]
    for sent in ({"port": 80}, {"ssl": True}, {"ssl": False}):
        bench.refused(400, "VALIDATION_ERROR", "POST", "/api/proxy/setup/blog", **sent)


def test_setup_brings_back_what_was_taken_down(bench: Any) -> None:
    bench.add("a.example")
    assert bench.done("DELETE", "/api/proxy/blog") == {"message": "Proxy removed", "name": "blog"}
    assert bench.proxy.sites == {}
    assert status(bench)["exposed"] is False
    assert [one["domain"] for one in bench.domains()] == ["a.example"]
    bench.look()
    assert bench.proxy.sites == {}
    assert setup(bench)["virtual_host_created"] is True
    assert [host.name for host in bench.hosts()] == ["a.example"]


def test_setup_of_a_host_that_is_routed_meanwhile_is_refused(bench: Any) -> None:
    bench.write("networking: {expose: false}\ndomains: [{domain: a.example}]\n")
    bench.create("shop")
    bench.write("networking: {expose: true}\ndomains: [{domain: a.example}]\n", "shop")
    answer = bench.refused(409, "DOMAIN_EXISTS", "POST", "/api/proxy/setup/blog")
    assert answer["deployment"] == "shop"
    assert "expose: false" in bench.file().read_text()
    bench.refused(409, "DOMAIN_EXISTS", "POST", "/api/proxy/setup/blog", port=81)


def test_a_setup_that_the_proxy_refuses_puts_the_file_back(bench: Any) -> None:
    before = bench.file().read_bytes()
    bench.proxy.refuse = {"blog": "no"}
    bench.refused(500, "PROXY_CONFIG_FAILED", "POST", "/api/proxy/setup/blog", domain="a.example")
    assert bench.file().read_bytes() == before


@pytest.mark.parametrize("wrong", [{"port": 0}, {"domain": "a;b"}, {"domain": 1}, {"ssl": "yes"}])
def test_a_setup_of_what_cannot_be_is_refused(bench: Any, wrong: dict[str, Any]) -> None:
    bench.refused(400, "VALIDATION_ERROR", "POST", "/api/proxy/setup/blog", **wrong)


def test_taking_down_what_is_not_there(bench: Any) -> None:
    bench.done("DELETE", "/api/proxy/blog")
    bench.refused(404, "DEPLOYMENT_NOT_FOUND", "DELETE", "/api/proxy/nope")
    bench.refused(400, "INVALID_NAME", "DELETE", "/api/proxy/-nope")


def test_taking_down_stays_done_when_the_proxy_fails(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add("a.example")

    def fail(*_: Any) -> Any:
        raise Failed("the Engine is away")

    with monkeypatch.context() as patched:
        patched.setattr(bench.proxy, "apply", fail)
        bench.done("DELETE", "/api/proxy/blog")
    assert "expose: false" in bench.file().read_text()
    bench.look()
    assert bench.proxy.sites == {}


def test_sites_are_listed_for_those_who_may_read_them(bench: Any, flatrun_login: Callable[..., Any]) -> None:
    bench.create("shop")
    bench.add("a.example")
    bench.add("b.example", "shop")
    bench.write("networking: {expose: true}\ndomains: [{domain: 'a b'}]\n", "shop")
    found = bench.client.get("/api/proxy/vhosts").get_json()
    assert [one["name"] for one in found["virtual_hosts"]] == ["blog", "shop"]
    assert [one["deployment_name"] for one in found["left_out"]] == ["shop"]
    reader = flatrun_login(bench.app, ["certificates:read"], {"blog": Level.READ})
    seen = reader.get("/api/proxy/vhosts").get_json()
    assert [one["name"] for one in seen["virtual_hosts"]] == ["blog"]
    assert seen["left_out"] == []


def test_everything_is_applied_on_demand(bench: Any) -> None:
    bench.write("networking: {expose: true}\ndomains: [{domain: a.example}]\n")
    answer = bench.done("POST", "/api/proxy/sync")
    blog = {"name": "blog", "domain": "a.example", "success": True, "created": True}
    counts = {"synced": 1, "skipped": 0, "failed": 0, "total": 1}
    assert answer == {"message": "Proxy synchronised", **counts, "results": [blog]}
    assert [host.name for host in bench.hosts()] == ["a.example"]
    again = bench.done("POST", "/api/proxy/sync")
    assert again["results"] == [{**blog, "created": False}]


def test_what_the_proxy_refuses_and_what_has_no_domain_is_counted(bench: Any) -> None:
    bench.add("a.example")
    bench.create("shop")
    bench.proxy.refuse = {"blog": "no such directive"}
    answer = bench.done("POST", "/api/proxy/sync")
    assert [answer[key] for key in ("synced", "skipped", "failed", "total")] == [0, 1, 1, 2]
    (refused,) = answer["results"]
    assert (refused["success"], refused["message"]) == (False, "no such directive")


def test_tls_of_a_deployment_is_switched_off(bench: Any) -> None:
    bench.add("a.example", ssl={"enabled": True})
    bench.add("b.example", ssl={"enabled": True})
    answer = bench.done("POST", "/api/deployments/blog/ssl/disable")
    assert answer == {"message": "SSL disabled", "name": "blog"}
    assert [one["ssl"] for one in bench.domains()] == [{"enabled": False, "auto_cert": False}] * 2
    assert [host.tls for host in bench.hosts()] == [None, None]
    assert bench.certificates.lookup(["a.example"]) is not None


@pytest.mark.parametrize("style", ["words", "hex", "short"])
def test_a_subdomain_is_made_up(make_bench: Callable[..., Any], style: str) -> None:
    bench = make_bench(
        **{"domain.default_domain": "example.com", "domain.subdomain_style": style, "domain.auto_ssl": True}
    )
    found = bench.done("GET", "/api/subdomain/generate")
    assert found["full_domain"] == f"{found['subdomain']}.example.com"
    assert (found["default_domain"], found["auto_ssl"]) == ("example.com", True)
    bench.create()
    bench.add(found["full_domain"])


def test_without_a_default_domain_there_is_a_label_only(bench: Any) -> None:
    found = bench.done("GET", "/api/subdomain/generate")
    assert found["subdomain"]
    assert found["full_domain"] == ""


def test_levels_of_the_proxys_routes(bench: Any, flatrun_login: Callable[..., Any]) -> None:
    rights = ["certificates:read", "certificates:write", "certificates:delete"]
    reader = flatrun_login(bench.app, rights, {"blog": Level.READ})
    assert reader.get("/api/proxy/status/blog").status_code == 200
    assert reader.get("/api/proxy/status/nope").get_json()["code"] == "DEPLOYMENT_FORBIDDEN"
    assert reader.post("/api/proxy/setup/blog").get_json()["code"] == "DEPLOYMENT_FORBIDDEN"
    assert reader.delete("/api/proxy/blog").get_json()["code"] == "DEPLOYMENT_FORBIDDEN"
    nobody = flatrun_login(bench.app, [], {"blog": Level.ADMIN})
    assert nobody.get("/api/proxy/status/blog").get_json()["code"] == "PERMISSION_DENIED"
