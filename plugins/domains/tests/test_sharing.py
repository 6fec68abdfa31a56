"""A host that another deployment has: who may have a part of it, and who keeps what two files name."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Level
from flatrun_domains.entries import Entry
from flatrun_domains.table import build

PATH = "/api/deployments/{}/domains"
RIGHTS = ["deployments:read", "deployments:write", "certificates:write", "certificates:delete"]


@pytest.fixture
def two(bench: Any) -> Any:
    """Return a panel with the deployments blog, which has a.example, and app."""
    bench.create("app")
    bench.add("a.example", aliases=["www.a.example"])
    return bench


@pytest.fixture
def stranger(two: Any, flatrun_login: Callable[..., Any]) -> Any:
    """Return somebody who may change app and only read blog."""
    return flatrun_login(two.app, RIGHTS, {"app": Level.WRITE, "blog": Level.READ})


@pytest.fixture
def both(two: Any, flatrun_login: Callable[..., Any]) -> Any:
    """Return somebody who may change app and blog."""
    return flatrun_login(two.app, RIGHTS, {"app": Level.WRITE, "blog": Level.WRITE})


def forbidden(answer: Any) -> None:
    assert answer.status_code == 409, answer.get_data(as_text=True)
    assert answer.get_json()["code"] == "DOMAIN_EXISTS"
    assert "blog" not in answer.get_data(as_text=True)


def both_names(name: str) -> str:
    entries = f"[{{domain: a.example, id: {name}}}, {{domain: {name}.example}}]"
    return f"networking: {{expose: true}}\ndomains: {entries}\n"


@pytest.mark.parametrize(
    "sent",
    [
        {"domain": "a.example", "path": "/login"},
        {"domain": "a.example", "path": "/login", "ssl": {"enabled": True}},
        {"domain": "b.example", "path": "/login", "aliases": ["a.example"]},
        {"domain": "www.a.example", "path": "/login"},
    ],
)
@pytest.mark.parametrize("exposed", [True, False])
def test_a_path_of_anothers_host_is_for_who_may_change_both(
    two: Any, stranger: Any, both: Any, sent: dict[str, Any], exposed: bool
) -> None:
    if not exposed:
        two.done("DELETE", "/api/proxy/blog")
    before = two.file("app").read_bytes()
    forbidden(stranger.post(PATH.format("app"), json=sent))
    assert two.file("app").read_bytes() == before
    assert two.certificates.asked == []
    assert both.post(PATH.format("app"), json=sent).status_code == 201


@pytest.mark.parametrize(
    "sent",
    [
        {"domain": "a.example"},
        {"aliases": ["a.example"]},
        {"domain": "www.a.example", "path": "/other"},
    ],
)
def test_a_change_to_anothers_host_is_for_who_may_change_both(
    two: Any, stranger: Any, both: Any, sent: dict[str, Any]
) -> None:
    entry = two.add("b.example", "app", path="/x")["domain"]["id"]
    forbidden(stranger.put(f"{PATH.format('app')}/{entry}", json=sent))
    assert both.put(f"{PATH.format('app')}/{entry}", json=sent).status_code == 200


def test_of_a_shared_host_what_is_its_own_is_for_who_may_change_it(two: Any, stranger: Any) -> None:
    entry = two.add("a.example", "app", path="/x")["domain"]["id"]
    path = f"{PATH.format('app')}/{entry}"
    assert stranger.put(path, json={"proxy_timeout": 30, "domain": "a.example"}).status_code == 200
    forbidden(stranger.put(path, json={"path": "/y"}))
    forbidden(stranger.put(path, json={"ssl": {"enabled": True}}))
    forbidden(stranger.put(path, json={"ssl": {"enabled": False, "auto_cert": True}}))
    assert all(host.tls is None for host in two.hosts())
    assert stranger.delete(path).status_code == 200


def test_who_may_change_both_may_want_tls_for_a_shared_host(two: Any, both: Any) -> None:
    entry = two.add("a.example", "app", path="/x")["domain"]["id"]
    path = f"{PATH.format('app')}/{entry}"
    assert both.put(path, json={"ssl": {"enabled": True}}).status_code == 200
    assert next(host for host in two.hosts() if host.name == "a.example").tls is not None
    assert both.put(path, json={"ssl": {"enabled": True}, "proxy_timeout": 5}).status_code == 200


def test_a_setup_and_a_creation_take_no_part_of_anothers_host(
    two: Any, stranger: Any, flatrun_login: Callable[..., Any]
) -> None:
    two.write("networking: {expose: true}\ndomains: [{domain: b.example, path: /x}]\n", "app")
    forbidden(stranger.post("/api/proxy/setup/app", json={"domain": "a.example"}))
    two.write("networking: {expose: false}\ndomains: [{domain: a.example, path: /x}]\n", "app")
    forbidden(stranger.post("/api/proxy/setup/app"))
    forbidden(stranger.post(PATH.format("app"), json={"domain": "c.example"}))
    assert two.client.post("/api/proxy/setup/app").status_code == 200
    assert stranger.post("/api/proxy/setup/app").status_code == 200
    creator = flatrun_login(two.app, RIGHTS)
    body = {
        "name": "new",
        "compose": "services: {web: {image: busybox}}",
        "metadata": {"domains": [{"domain": "a.example", "path": "/new"}]},
    }
    forbidden(creator.post("/api/deployments", json=body))
    assert not (two.root / "new").exists()


def test_of_a_host_in_two_files_everything_else_can_be_changed(two: Any) -> None:
    two.write(both_names("app"), "app")
    two.look()
    for name, entry in (("app", "app"), ("blog", two.domains()[0]["id"])):
        path = f"{PATH.format(name)}/{entry}"
        assert two.done("PUT", path, proxy_timeout=30)["domain"]["proxy_timeout"] == 30
        two.done("PUT", path, domain="a.example", path="/")
    two.refused(409, "DOMAIN_EXISTS", "PUT", f"{PATH.format('app')}/app", aliases=["www.a.example"])
    two.refused(409, "DOMAIN_EXISTS", "POST", "/api/proxy/setup/app")
    two.done("POST", "/api/proxy/setup/blog")


def test_the_site_that_is_served_keeps_its_host_beyond_a_restart(
    two: Any, make_bench: Callable[..., Any]
) -> None:
    two.write(both_names("app"), "app")
    two.look()
    for restarted in (lambda: two, make_bench, make_bench):
        bench = restarted()
        bench.look()
        assert {host.name for host in bench.hosts("app")} == {"app.example"}
        assert bench.hosts()[0].routes[0].upstream == "blog-web"
        assert bench.routes.owner("a.example") == "blog"


def test_what_another_file_names_while_the_panel_is_away_stays(
    two: Any, make_bench: Callable[..., Any]
) -> None:
    two.write(both_names("app"), "app")
    after = make_bench()
    after.look()
    assert after.routes.owner("a.example") == "blog"
    assert {host.name for host in after.hosts("app")} == {"app.example"}


def test_who_gave_a_host_up_is_followed_by_who_waited(two: Any, make_bench: Callable[..., Any]) -> None:
    two.write(both_names("app"), "app")
    two.look()
    two.done("DELETE", "/api/proxy/blog")
    assert two.routes.owner("a.example") == "app"
    two.write("networking: {expose: true}\ndomains: [{domain: a.example}]\n")
    two.look()
    assert two.routes.owner("a.example") == "app"
    again = make_bench()
    again.look()
    assert again.routes.owner("a.example") == "app"
    again.write("networking: {expose: true}\ndomains: [{domain: c.example}]\n", "app")
    again.look()
    assert again.routes.owner("a.example") == "blog"
    assert "contested" not in again.routes.status("blog")


def test_a_change_that_the_proxy_refuses_gives_nobody_a_host(two: Any, refusal: Any) -> None:
    two.write(both_names("app"), "app")
    two.look()
    entry = f"{PATH.format('blog')}/{two.domains()[0]['id']}"
    two.proxy.refuse = {"blog": "no"}
    two.refused(500, "PROXY_CONFIG_FAILED", "PUT", entry, domain="d.example", aliases=[])
    two.proxy.refuse = {}
    two.look()
    assert two.routes.owner("a.example") == "blog"


def test_both_are_told_of_a_contest(two: Any) -> None:
    two.write(both_names("app"), "app")
    two.look()
    mine, other = two.routes.status("blog"), two.routes.status("app")
    assert mine["contested"] == ["a.example/"]
    assert "left_out" not in mine
    assert "contested" not in other
    assert other["left_out"] == [
        {"id": "app", "domain": "a.example", "reason": "a.example/ is routed already"}
    ]
    assert [one["domain"] for one in other["domains_config"]] == ["a.example", "app.example"]
    assert "app" not in str(mine["contested"])


def test_an_idle_holder_keeps_nobody_from_a_host() -> None:
    entries = [("a", (Entry("1", "web", "x.example", 80),)), ("b", (Entry("2", "web", "x.example", 80),))]
    assert build(entries).claims == {("x.example", "/"): "a"}
    assert build(entries, holders={("x.example", "/"): "b"}).claims == {("x.example", "/"): "b"}
    assert build(entries, holders={("x.example", "/"): "gone"}).claims == {("x.example", "/"): "a"}
    # b has the alias only as long as it has the domain.
    with_alias = (
        ("a", (Entry("1", "web", "x.example", 80), Entry("3", "web", "w.example", 80))),
        ("b", (Entry("2", "web", "w.example", 80, aliases=("x.example",)),)),
    )
    held = {("w.example", "/"): "a", ("x.example", "/"): "b"}
    assert build(with_alias, holders=held).claims == {("x.example", "/"): "a", ("w.example", "/"): "a"}
