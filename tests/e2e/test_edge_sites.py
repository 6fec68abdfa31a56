"""The life of a site behind the proxy: domains come, are seen, and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flatrun_e2e.edge import Edge, wait_until

StartEdge = Callable[..., Edge]


@pytest.fixture
def edge(module_edge: Edge) -> Edge:
    """Return the proxy of this module; what a test adds to it goes with the test's deployments."""
    return module_edge


@pytest.fixture
def site(edge: Edge, unique_name: str, application_image: str) -> Iterator[str]:
    """Return the name of a deployment with the services web and api."""
    edge.site(unique_name, application_image, api={})
    yield unique_name
    edge.panel.delete(f"/api/deployments/{unique_name}?remove_files=true")


def shows(edge: Edge, host: str, application: str, path: str = "/") -> None:
    """See that a page is answered by an application; by none when it is empty.

    Right after a reload nginx's earlier processes may still answer.
    """
    wait_until(lambda: edge.answered_by(host, path), application, 60)


def target(edge: Edge, host: str, path: str) -> str:
    """Return the path that arrived at the application."""
    return str(edge.visit(host, path).json()["target"])


def file_of(edge: Edge, site: str) -> bytes | None:
    return edge.files.get(f"{site}.conf")


def test_two_domains_with_aliases_and_a_path_come_and_go(edge: Edge, site: str) -> None:
    blog = edge.add(site, "blog.example.test", aliases=["www.blog.example.test"])
    assert blog["proxy_result"]["success"] is True
    edge.wait("blog.example.test", 200)
    shows(edge, "www.blog.example.test", site)
    shows(edge, "BLOG.example.test.", site)

    api = edge.add(site, "blog.example.test", path="/api", service="api")
    shop = edge.add(site, "shop.example.test", aliases=["kauf.example.test"])
    shows(edge, "blog.example.test", f"{site}-api", "/api/items")
    # An alias is for the entry that it stands in.
    shows(edge, "www.blog.example.test", site, "/api/items")
    shows(edge, "blog.example.test", site, "/apidae")
    shows(edge, "kauf.example.test", site, "/api/items")

    edge.remove(site, api)
    shows(edge, "blog.example.test", site, "/api/items")
    edge.remove(site, shop)
    shows(edge, "kauf.example.test", "")
    shows(edge, "blog.example.test", site)
    edge.remove(site, blog)
    shows(edge, "blog.example.test", "")
    assert file_of(edge, site) is None


def test_a_changed_domain_is_served_under_its_new_name_only(edge: Edge, site: str) -> None:
    entry = edge.add(site, "old.example.test")["domain"]
    path = f"/api/deployments/{site}/domains/{entry['id']}"
    answer = edge.panel.put(path, {"domain": "new.example.test", "service": "api"})
    assert answer.status_code == 200, answer.text
    edge.wait("new.example.test", 200)
    shows(edge, "new.example.test", f"{site}-api")
    shows(edge, "old.example.test", "")


def test_the_application_learns_who_asked_for_what(edge: Edge, site: str) -> None:
    edge.add(site, "blog.example.test")
    edge.add(site, "blog.example.test", path="/app", strip_prefix=True, service="api")
    shows(edge, "blog.example.test", f"{site}-api", "/app")
    spoofed = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9", "X-Forwarded-Proto": "https"}
    answer = edge.visit("blog.example.test", "/app/page?a=%20b", headers=spoofed).json()
    headers = {name.lower(): value for name, value in answer["headers"]}
    assert answer["target"] == "/page?a=%20b"
    assert headers["host"] == "blog.example.test"
    assert headers["x-forwarded-host"] == "blog.example.test"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-prefix"] == "/app"
    assert headers["x-real-ip"] != "203.0.113.9"
    assert headers["x-forwarded-for"] == f"203.0.113.9, {headers['x-real-ip']}"
    assert target(edge, "blog.example.test", "/app") == "/"
    assert target(edge, "blog.example.test", "/app/?q") == "/?q"


def test_a_deleted_deployment_takes_its_sites_along(edge: Edge, site: str) -> None:
    edge.add(site, "blog.example.test")
    edge.wait("blog.example.test", 200)
    answer = edge.panel.delete(f"/api/deployments/{site}?remove_files=true")
    assert answer.status_code == 200, answer.text
    assert file_of(edge, site) is None
    shows(edge, "blog.example.test", "")


def test_setup_and_removal_by_the_proxy_routes(edge: Edge, site: str) -> None:
    edge.add(site, "blog.example.test")
    edge.wait("blog.example.test", 200)
    gone = edge.panel.delete(f"/api/proxy/{site}")
    assert gone.status_code == 200, gone.text
    shows(edge, "blog.example.test", "")
    assert edge.panel.get(f"/api/proxy/status/{site}").json()["status"]["exposed"] is False
    back = edge.panel.post(f"/api/proxy/setup/{site}")
    assert back.json()["result"]["success"] is True, back.text
    shows(edge, "blog.example.test", site)
    status = edge.panel.get(f"/api/proxy/status/{site}").json()["status"]
    assert (status["exposed"], status["virtual_host_exists"]) == (True, True)


def test_what_is_edited_by_hand_is_served(edge: Edge, site: str) -> None:
    edge.add(site, "blog.example.test")
    edge.wait("blog.example.test", 200)
    file = edge.panel.root / site / "service.yml"
    file.write_text(file.read_text().replace("blog.example.test", "hand.example.test"))
    edge.wait("hand.example.test", 200, seconds=60)
    shows(edge, "hand.example.test", site)
    shows(edge, "blog.example.test", "")


@pytest.fixture
def strict(start_edge: StartEdge, unique_name: str, application_image: str) -> Edge:
    """Return a proxy that refuses unknown hosts, with one site."""
    edge = start_edge(settings={"nginx": {"reject_unknown_domains": True}})
    edge.site(unique_name, application_image)
    edge.add(unique_name, "blog.example.test")
    return edge


def test_unknown_hosts_are_hung_up_on_when_so_set(strict: Edge) -> None:
    strict.wait("blog.example.test", 200)
    assert strict.status("unknown.example.test") == 0
    assert strict.status("127.0.0.1") == 0
    # The way of a certificate's proof stays open, for a name that is about to get its site.
    assert strict.status("unknown.example.test", "/.well-known/acme-challenge/none") == 404


HOSTILE_HOSTS = [
    "a;b.example.test",
    "a{b}.example.test",
    "a.example.test;",
    "a\nb.example.test",
    "a.example.test\n",
    'a".example.test',
    "a'.example.test",
    "$host.example.test",
    "${host}.example.test",
    "a b.example.test",
    " a.example.test",
    "*.example.test",
    "~^a.example.test$",
    "_",
    "localhost",
    "192.0.2.1",
    "[2001:db8::1]",
    "a..example.test",
    ".example.test",
    "-a.example.test",
    "a_b.example.test",
    "a.example.test:80",
    "a.example.test/x",
    "a\x00.example.test",
    "a\\.example.test",
    "a#.example.test",
    "a\u2028.example.test",
    "x" * 64 + ".example.test",
    ".".join(["a" * 60] * 5),
    "",
]
HOSTILE_PATHS = [
    "no-slash",
    "/a;b",
    "/a{b",
    "/a}b",
    "/a\nb",
    "/a\r\nb",
    '/a"b',
    "/a'b",
    "/a$b",
    "/${uri}",
    "/a b",
    "/a\tb",
    "/../etc",
    "/a/../b",
    "/a/./b",
    "//a",
    "/a//b",
    "/a\\b",
    "/a#b",
    "/a?b",
    "/%2e%2e/b",
    "/a\x00b",
    "/~^a",
    "/" + "x" * 3000,
]


def whole(edge: Edge, site: str) -> dict[str, Any]:
    """Return the bytes of everything that a domain may change."""
    folder = edge.panel.root / site
    return {"files": edge.files, "metadata": (folder / "service.yml").read_bytes()}


def test_hostile_hosts_and_paths_leave_every_file_as_it_was(edge: Edge, site: str) -> None:
    entry = edge.add(site, "blog.example.test")["domain"]
    edge.wait("blog.example.test", 200)
    before = whole(edge, site)
    asked = [{"host": host} for host in HOSTILE_HOSTS]
    asked += [{"host": "other.example.test", "aliases": [host]} for host in HOSTILE_HOSTS]
    asked += [{"host": "other.example.test", "path": path} for path in HOSTILE_PATHS]
    taken = [one for one in asked if edge.ask_add(site, **one).status_code != 400]
    assert taken == []
    url = f"/api/deployments/{site}/domains/{entry['id']}"
    changes: list[dict[str, Any]] = [{"domain": host} for host in HOSTILE_HOSTS]
    changes += [{"path": path, "strip_prefix": True} for path in HOSTILE_PATHS]
    assert [one for one in changes if edge.panel.put(url, one).status_code != 400] == []
    assert whole(edge, site) == before
    shows(edge, "blog.example.test", site)


def test_a_taken_host_and_a_service_that_is_not_there_change_nothing(
    edge: Edge, site: str, new_name: Callable[[], str], application_image: str
) -> None:
    other = new_name()
    edge.site(other, application_image)
    edge.add(site, "blog.example.test", aliases=["www.example.test"])
    edge.wait("blog.example.test", 200)
    before = whole(edge, site)
    for deployment in (site, other):
        for host in ("blog.example.test", "BLOG.example.test.", "www.example.test"):
            answer = edge.ask_add(deployment, host)
            assert (answer.status_code, answer.json()["code"]) == (409, "DOMAIN_EXISTS")
    answer = edge.ask_add(site, "other.example.test", service="nothing")
    assert (answer.status_code, answer.json()["code"]) == (400, "SERVICE_NOT_FOUND")
    assert whole(edge, site) == before
    assert edge.panel.delete(f"/api/deployments/{other}?remove_files=true").status_code == 200
