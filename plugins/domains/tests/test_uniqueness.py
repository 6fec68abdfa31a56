"""A host and path belong to one deployment, whoever asks first, and whoever edits files by hand."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Level

PATH = "/api/deployments/{}/domains"
COMPOSE = "services: {web: {image: busybox}}"


@pytest.fixture
def two(bench: Any) -> Any:
    """Return a panel with the deployments blog and shop; blog has a.example and an alias."""
    bench.create("shop")
    bench.add("a.example", aliases=["www.a.example"])
    return bench


@pytest.mark.parametrize(
    "sent",
    [
        {"domain": "a.example"},
        {"domain": "A.example."},
        {"domain": "www.a.example"},
        {"domain": "b.example", "aliases": ["a.example"]},
        {"domain": "b.example", "aliases": ["www.a.example"]},
    ],
)
@pytest.mark.parametrize("name", ["shop", "blog"])
def test_a_host_that_is_routed_is_refused(two: Any, name: str, sent: dict[str, Any]) -> None:
    before = two.file(name).read_bytes()
    answer = two.refused(409, "DOMAIN_EXISTS", "POST", PATH.format(name), **sent)
    assert answer["deployment"] == "blog"
    assert two.file(name).read_bytes() == before


def test_another_path_of_a_host_is_free_for_anybody(two: Any) -> None:
    two.add("a.example", "shop", path="/shop")
    two.refused(409, "DOMAIN_EXISTS", "POST", PATH.format("blog"), domain="a.example", path="/shop/")
    (plain, shared) = sorted(two.hosts(), key=lambda host: len(host.routes))
    assert (plain.name, shared.name) == ("www.a.example", "a.example")
    assert [(route.path, route.upstream) for route in shared.routes] == [
        ("/shop", "shop-web"),
        ("/", "blog-web"),
    ]
    assert two.hosts("shop") == []
    status = two.client.get("/api/proxy/status/shop").get_json()["status"]
    assert (status["virtual_host_exists"], status["domains"]) == (True, ["a.example"])
    assert two.routes.owner("a.example") == "blog"


def test_a_change_to_a_host_that_is_routed_is_refused(two: Any) -> None:
    domain_id = two.add("b.example", "shop")["domain"]["id"]
    path = f"{PATH.format('shop')}/{domain_id}"
    two.refused(409, "DOMAIN_EXISTS", "PUT", path, aliases=["www.a.example"])
    assert two.done("PUT", path, domain="b.example", port=81)["domain"]["port"] == 81


def test_who_may_not_read_a_deployment_is_not_told_its_name(
    two: Any, flatrun_login: Callable[..., Any]
) -> None:
    rights = ["deployments:read", "deployments:write"]
    client = flatrun_login(two.app, rights, {"shop": Level.WRITE})
    answer = client.post(PATH.format("shop"), json={"domain": "a.example"})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "DOMAIN_EXISTS")
    assert "blog" not in answer.get_data(as_text=True)
    both = flatrun_login(two.app, rights, {"shop": Level.WRITE, "blog": Level.READ})
    assert both.post(PATH.format("shop"), json={"domain": "a.example"}).get_json()["deployment"] == "blog"


def test_what_is_stored_unexposed_is_taken_too(two: Any) -> None:
    two.done("DELETE", "/api/proxy/blog")
    assert two.proxy.sites == {}
    two.refused(409, "DOMAIN_EXISTS", "POST", PATH.format("shop"), domain="a.example")


def test_the_panels_own_domain_is_taken(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(**{"domain.panel_domain": "panel.example"})
    bench.create()
    for sent in (
        {"domain": "panel.example", "path": "/x"},
        {"domain": "b.example", "aliases": ["panel.example"]},
    ):
        bench.refused(409, "DOMAIN_EXISTS", "POST", PATH.format("blog"), **sent)
    bench.write("networking: {expose: true}\ndomains: [{domain: panel.example}, {domain: b.example}]\n")
    bench.look()
    assert [host.name for host in bench.hosts()] == ["b.example"]


def test_of_many_who_ask_at_once_one_gets_the_host(bench: Any) -> None:
    names = [f"app-{number}" for number in range(6)]
    for name in names:
        bench.create(name)
    answers: dict[str, int] = {}
    gate = threading.Barrier(len(names))

    def ask(name: str) -> None:
        gate.wait()
        answers[name] = bench.client.post(PATH.format(name), json={"domain": "one.example"}).status_code

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers.values()) == [201, 409, 409, 409, 409, 409]
    (owner,) = [name for name, status in answers.items() if status == 201]
    assert bench.routes.hosts() == {"one.example": owner}
    assert [name for name in names if bench.domains(name)] == [owner]


def test_of_creations_and_additions_at_once_one_gets_the_host(bench: Any) -> None:
    answers: list[int] = []
    gate = threading.Barrier(4)

    def create(number: int) -> None:
        gate.wait()
        body = {
            "name": f"new-{number}",
            "compose": COMPOSE,
            "metadata": {"domains": [{"domain": "one.example"}]},
        }
        answers.append(bench.client.post("/api/deployments", json=body).status_code)

    def add() -> None:
        gate.wait()
        answers.append(bench.client.post(PATH.format("blog"), json={"domain": "one.example"}).status_code)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(3)]
    threads.append(threading.Thread(target=add))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201, 409, 409, 409]
    assert len(bench.routes.hosts()) == 1


def test_many_additions_at_once_lose_none(bench: Any) -> None:
    gate = threading.Barrier(8)

    def add(number: int) -> None:
        gate.wait()
        bench.add(f"n{number}.example")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(host.name for host in bench.hosts()) == [f"n{number}.example" for number in range(8)]
    assert len(bench.domains()) == 8


def test_of_hosts_written_twice_by_hand_the_first_name_has_it(two: Any) -> None:
    two.write(
        "networking: {expose: true}\n"
        "domains: [{domain: a.example}, {domain: s.example, aliases: [www.a.example, t.example]}]\n",
        "shop",
    )
    two.look()
    assert {host.name for host in two.hosts()} == {"a.example"}
    (host,) = two.hosts("shop")
    assert {host.name, *host.aliases} == {"s.example", "t.example"}
    left_out = two.client.get("/api/proxy/status/shop").get_json()["status"]["left_out"]
    assert [one["domain"] for one in left_out] == ["a.example", "www.a.example"]
    assert "blog" not in str(left_out)


def test_a_host_written_twice_keeps_nobody_from_changing_other_domains(two: Any) -> None:
    two.write("networking: {expose: true}\ndomains: [{domain: a.example}]\n", "shop")
    two.add("c.example", "shop")
    assert [host.name for host in two.hosts("shop")] == ["c.example"]
    two.done("PUT", f"{PATH.format('shop')}/{two.domains('shop')[0]['id']}", domain="d.example")
    assert [host.name for host in two.hosts("shop")] == ["c.example", "d.example"]


def test_two_services_of_one_name_on_the_network_are_told_apart(two: Any) -> None:
    two.done("POST", "/api/deployments", 201, name="x", compose="services: {web-api: {image: busybox}}")
    two.done("POST", "/api/deployments", 201, name="x-web", compose="services: {api: {image: busybox}}")
    two.add("x.example", "x")
    two.refused(409, "CONFLICT", "POST", PATH.format("x-web"), domain="y.example")
    two.write("networking: {expose: true}\ndomains: [{domain: y.example}]\n", "x-web")
    two.look()
    assert two.hosts("x-web") == []


def test_a_name_that_the_proxy_keeps_has_no_domains(bench: Any) -> None:
    (bench.root / "default").mkdir()
    (bench.root / "default" / "docker-compose.yml").write_text(COMPOSE)
    bench.refused(400, "RESERVED_NAME", "POST", PATH.format("default"), domain="d.example")
    bench.write("networking: {expose: true}\ndomains: [{domain: d.example}]\n", "default")
    bench.look()
    assert bench.proxy.sites == {}


@pytest.mark.parametrize("name", ["nginx", "default", "00-flatrun-x"])
def test_a_name_that_the_proxy_keeps_is_refused_whether_it_is_there_or_not(bench: Any, name: str) -> None:
    for _ in range(2):
        bench.refused(400, "RESERVED_NAME", "POST", "/api/deployments", name=name, compose=COMPOSE)
        bench.refused(400, "RESERVED_NAME", "POST", f"/api/proxy/setup/{name}")
        bench.refused(400, "RESERVED_NAME", "POST", f"/api/proxy/setup/{name}", domain="d.example")
        (bench.root / name).mkdir(exist_ok=True)
        (bench.root / name / "docker-compose.yml").write_text(COMPOSE)
    assert not (bench.root / name / "service.yml").exists()
