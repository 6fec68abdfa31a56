"""Domains through the API: added, changed, taken away, and what the file says then."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Level

PATH = "/api/deployments/blog/domains"

WRITTEN_BY_HAND = """\
# our blog
name: blog
networking:
  expose: true  # please
  container_port: 8080
domains:
  - id: main
    domain: blog.example.com  # the one
    container_port: 8080
    note: kept
    ssl:
      enabled: false
      hint: later
  # the other
  - domain: shop.example.com
    service: api
    port: 3000
    path: /shop/
extra: {kept: true}
"""


def test_a_domain_is_added_served_and_stored(bench: Any) -> None:
    answer = bench.add("Blog.Example.com.", aliases=["www.blog.example.com"])
    domain = answer["domain"]
    assert answer["message"] == "Domain added successfully"
    assert domain == {
        "id": domain["id"],
        "service": "web",
        "domain": "blog.example.com",
        "port": 8080,
        "container_port": 8080,
        "path": "/",
        "path_prefix": "",
        "strip_prefix": False,
        "ssl": {"enabled": False, "auto_cert": False},
        "aliases": ["www.blog.example.com"],
    }
    assert bench.domains() == [domain]
    (host,) = bench.hosts()
    assert (host.name, host.aliases, host.tls) == ("blog.example.com", ("www.blog.example.com",), None)
    (route,) = host.routes
    assert (route.path, route.upstream, route.port) == ("/", "blog-web", 8080)
    assert answer["proxy_result"]["virtual_host_created"] is True
    assert answer["proxy_result"]["nginx_reloaded"] is True


@pytest.mark.parametrize(
    ("sent", "port", "path"),
    [
        ({"port": 81, "path": "/a"}, 81, "/a"),
        ({"container_port": 81, "path_prefix": "/a/"}, 81, "/a"),
        ({"port": 81, "container_port": 81, "path": "/a/", "path_prefix": "/a"}, 81, "/a"),
        ({"port": 81, "container_port": None, "path": "/", "path_prefix": ""}, 81, "/"),
    ],
)
def test_both_spellings_are_taken_and_given(bench: Any, sent: dict[str, Any], port: int, path: str) -> None:
    domain = bench.add("a.example", **sent)["domain"]
    assert (domain["port"], domain["container_port"]) == (port, port)
    assert (domain["path"], domain["path_prefix"]) == (path, "" if path == "/" else path)
    stored = bench.client.get("/api/deployments/blog").get_json()["deployment"]["metadata"]["domains"]
    assert ("path_prefix" in stored[0]) is (path != "/")


@pytest.mark.parametrize("sent", [{"port": 80, "container_port": 81}, {"path": "/a", "path_prefix": "/b"}])
def test_spellings_that_differ_are_refused(bench: Any, sent: dict[str, Any]) -> None:
    answer = bench.refused(400, "VALIDATION_ERROR", "POST", PATH, domain="a.example", **sent)
    assert "Differs" in answer["error"]


@pytest.mark.parametrize("sent", [{"id": "bad id"}, {"id": "x" * 65}, {"id": "a\n"}])
def test_an_id_that_cannot_be_one_is_refused(bench: Any, sent: dict[str, Any]) -> None:
    bench.refused(400, "VALIDATION_ERROR", "POST", PATH, domain="a.example", **sent)


def test_the_clients_id_is_taken_while_it_is_free(bench: Any) -> None:
    assert bench.add("a.example", id="primary")["domain"]["id"] == "primary"
    bench.refused(409, "CONFLICT", "POST", PATH, domain="b.example", id="primary")
    assert bench.add("b.example", id="")["domain"]["id"] not in ("", "primary")


def test_a_service_that_is_not_there_is_refused_and_nothing_changes(bench: Any) -> None:
    before = bench.file().read_bytes()
    bench.refused(400, "SERVICE_NOT_FOUND", "POST", PATH, domain="a.example", service="nope")
    assert bench.file().read_bytes() == before
    assert bench.proxy.sites == {}


def test_port_defaults_to_what_the_service_says_and_then_to_80(bench: Any) -> None:
    assert bench.add("a.example", service="web")["domain"]["port"] == 8080
    assert bench.add("b.example", service="api")["domain"]["port"] == 80


def test_the_single_domain_fields_follow_the_first_entry(bench: Any) -> None:
    first = bench.add("a.example", service="api", port=3000, ssl={"enabled": True})["domain"]["id"]
    second = bench.add("b.example", service="web", port=81)["domain"]["id"]

    def mirrored() -> tuple[Any, ...]:
        metadata = bench.client.get("/api/deployments/blog").get_json()["deployment"]["metadata"]
        networking = metadata["networking"]
        keys = ("expose", "domain", "service", "container_port")
        return (*(networking[key] for key in keys), metadata["ssl"]["enabled"], metadata["ssl"]["auto_cert"])

    assert mirrored() == (True, "a.example", "api", 3000, True, True)
    bench.done("PUT", f"{PATH}/{first}", domain="c.example", ssl={"enabled": True, "auto_cert": False})
    assert mirrored() == (True, "c.example", "api", 3000, True, False)
    assert bench.done("DELETE", f"{PATH}/{first}") == {"message": "Domain deleted successfully"}
    assert mirrored() == (True, "b.example", "web", 81, False, False)
    bench.done("DELETE", f"{PATH}/{second}")
    assert mirrored()[:2] == (False, "")
    assert bench.proxy.sites == {}


def test_a_change_keeps_what_is_not_sent(bench: Any) -> None:
    sent = {
        "service": "api",
        "port": 3000,
        "path": "/shop",
        "strip_prefix": True,
        "proxy_timeout": 300,
        "max_body_size": "500m",
        "ssl": {"enabled": True, "auto_cert": False},
        "aliases": ["b.example"],
    }
    before = bench.add("a.example", **sent)["domain"]
    assert before["proxy_timeout"] == 300
    after = bench.done("PUT", f"{PATH}/{before['id']}", port=3001)["domain"]
    assert after == {**before, "port": 3001, "container_port": 3001}
    (route,) = bench.hosts()[0].routes
    assert (route.timeout, route.max_body, route.strip_prefix) == (300, 500 << 20, True)
    less = bench.done(
        "PUT",
        f"{PATH}/{before['id']}",
        proxy_timeout=None,
        max_body_size=None,
        aliases=[],
        strip_prefix=False,
    )["domain"]
    assert "proxy_timeout" not in less
    assert "max_body_size" not in less
    assert (less["aliases"], less["strip_prefix"], less["path"]) == ([], False, "/shop")
    assert "proxy_timeout" not in bench.file().read_text()


def test_another_first_service_moves_no_entry_that_named_none(bench: Any) -> None:
    bench.write(
        "networking: {expose: true}\n"
        "domains:\n  - {id: one, domain: a.example}\n  - {id: two, domain: b.example}\n"
    )
    bench.done("PUT", f"{PATH}/one", service="api", port=3000)
    assert [(one["service"], one["port"]) for one in bench.domains()] == [("api", 3000), ("web", 8080)]


def test_an_id_cannot_be_changed_and_an_unknown_one_is_not_found(bench: Any) -> None:
    domain_id = bench.add("a.example")["domain"]["id"]
    assert bench.done("PUT", f"{PATH}/{domain_id}", id="other")["domain"]["id"] == domain_id
    bench.refused(404, "DOMAIN_NOT_FOUND", "PUT", f"{PATH}/nope", port=1)
    bench.refused(404, "DOMAIN_NOT_FOUND", "DELETE", f"{PATH}/nope")
    bench.refused(404, "DEPLOYMENT_NOT_FOUND", "DELETE", "/api/deployments/nope/domains/x")


def test_the_path_of_an_entry_that_strips_it_cannot_become_the_root(bench: Any) -> None:
    domain_id = bench.add("a.example", path="/x", strip_prefix=True)["domain"]["id"]
    before = bench.file().read_bytes()
    bench.refused(400, "VALIDATION_ERROR", "PUT", f"{PATH}/{domain_id}", path="/")
    bench.refused(400, "VALIDATION_ERROR", "POST", PATH, domain="b.example", strip_prefix=True)
    assert bench.file().read_bytes() == before


def test_aliases_are_distinct_from_the_domain_and_from_each_other(bench: Any) -> None:
    for aliases in (["a.example"], ["A.example."], ["b.example", "B.example"]):
        bench.refused(400, "VALIDATION_ERROR", "POST", PATH, domain="a.example", aliases=aliases)
    domain_id = bench.add("a.example", aliases=["b.example"])["domain"]["id"]
    bench.refused(400, "VALIDATION_ERROR", "PUT", f"{PATH}/{domain_id}", domain="b.example")
    many = [f"n{number}.example" for number in range(100)]
    bench.refused(400, "VALIDATION_ERROR", "POST", PATH, domain="c.example", aliases=many)
    assert len(bench.add("c.example", aliases=many[:99])["domain"]["aliases"]) == 99


def test_a_file_written_by_hand_keeps_all_that_nobody_asked_to_change(bench: Any) -> None:
    bench.write(WRITTEN_BY_HAND)
    main, shop = bench.domains()
    assert (main["id"], main["service"], main["port"]) == ("main", "web", 8080)
    assert (shop["service"], shop["port"], shop["path"]) == ("api", 3000, "/shop")
    assert bench.domains()[1]["id"] == shop["id"]
    bench.done("PUT", f"{PATH}/main", port=9090)
    text = bench.file().read_text()
    for kept in ("# our blog", "# please", "# the one", "note: kept", "hint: later", "# the other"):
        assert kept in text
    assert "extra: {kept: true}" in text
    assert "port: 3000" in text
    assert "path: /shop/" in text
    bench.done("PUT", f"{PATH}/{shop['id']}", port=3001)
    assert bench.domains()[1]["port"] == 3001
    assert "    port:" not in bench.file().read_text()
    bench.done("DELETE", f"{PATH}/{shop['id']}")
    assert [one["id"] for one in bench.domains()] == ["main"]
    assert "note: kept" in bench.file().read_text()


SINGLE = "networking: {expose: true, domain: old.example, container_port: 8080}\nssl: {enabled: true}\n"


def test_the_single_domain_of_old_is_shown_and_served(bench: Any) -> None:
    bench.write(SINGLE)
    (default,) = bench.domains()
    assert (default["id"], default["domain"], default["port"]) == ("default", "old.example", 8080)
    assert default["ssl"] == {"enabled": True, "auto_cert": True}
    bench.look()
    assert [host.name for host in bench.hosts()] == ["old.example"]
    assert bench.file().read_text() == SINGLE


def test_the_first_addition_turns_the_single_domain_into_an_entry(bench: Any) -> None:
    bench.write(SINGLE)
    bench.refused(409, "CONFLICT", "POST", PATH, domain="new.example", id="default")
    bench.add("new.example")
    assert next((one["id"], one["domain"]) for one in bench.domains()) == ("default", "old.example")
    assert "id: default" in bench.file().read_text()
    assert len(bench.hosts()) == 2


def test_the_single_domain_can_be_changed_and_taken_away(bench: Any) -> None:
    bench.write(SINGLE)
    changed = bench.done("PUT", f"{PATH}/default", path="/x", ssl={"enabled": False})["domain"]
    assert (changed["id"], changed["domain"], changed["path"]) == ("default", "old.example", "/x")
    bench.write(SINGLE)
    bench.done("DELETE", f"{PATH}/default")
    assert bench.domains() == []
    assert bench.proxy.sites == {}


def test_a_refusal_of_the_proxy_puts_the_file_back_byte_for_byte(bench: Any) -> None:
    bench.write(WRITTEN_BY_HAND)
    bench.look()
    before, sites = bench.file().read_bytes(), dict(bench.proxy.sites)
    bench.proxy.refuse = {"blog": "nginx: [emerg] no"}
    for method, path, body in (
        ("POST", PATH, {"domain": "b.example"}),
        ("PUT", f"{PATH}/main", {"port": 1}),
        ("DELETE", f"{PATH}/main", {}),
    ):
        answer = bench.refused(500, "PROXY_CONFIG_FAILED", method, path, **body)
        assert "[emerg] no" in answer["details"]
        assert bench.file().read_bytes() == before
    assert bench.proxy.sites == sites


def test_a_file_that_cannot_be_read_is_left_as_it_is(bench: Any) -> None:
    bench.write("domains: [")
    for method, path in (("GET", PATH), ("POST", PATH), ("DELETE", f"{PATH}/x")):
        bench.refused(409, "METADATA_UNREADABLE", method, path, domain="a.example")
    assert bench.file().read_text() == "domains: ["


def test_without_a_proxy_domains_are_saved(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(proxy=False)
    bench.create()
    result = bench.add("a.example", ssl={"enabled": True})["proxy_result"]
    assert (result["skipped"], result["success"], result["virtual_host_created"]) == (True, False, False)
    assert [one["domain"] for one in bench.domains()] == ["a.example"]
    assert bench.certificates.asked == []


def test_permission_comes_before_access_and_access_before_existence(
    bench: Any, flatrun_login: Callable[..., Any]
) -> None:
    reader = flatrun_login(bench.app, ["deployments:read"], {"blog": Level.READ})
    assert reader.get(PATH).status_code == 200
    assert reader.post(PATH, json={}).get_json()["code"] == "PERMISSION_DENIED"
    writer = flatrun_login(bench.app, ["deployments:read", "deployments:write"], {"blog": Level.READ})
    assert writer.post(PATH, json={}).get_json()["code"] == "DEPLOYMENT_FORBIDDEN"
    assert writer.get("/api/deployments/nope/domains").get_json()["code"] == "DEPLOYMENT_FORBIDDEN"


def test_names_that_come_and_go_are_told(bench: Any) -> None:
    domain_id = bench.add("a.example", aliases=["b.example"])["domain"]["id"]
    bench.done("PUT", f"{PATH}/{domain_id}", aliases=["c.example"])
    bench.done("PUT", f"{PATH}/{domain_id}", port=81)
    bench.done("DELETE", f"{PATH}/{domain_id}")
    told = [(event.added, event.removed) for event in bench.edge.events]
    assert told == [
        (("a.example", "b.example"), ()),
        (("c.example",), ("b.example",)),
        ((), ("a.example", "c.example")),
    ]
