"""The container routes, with Docker in memory."""

from typing import Any

import pytest

from flatrun_core import Level
from flatrun_core.ports.docker import PROJECT_LABEL, SERVICE_LABEL
from flatrun_deployments.container_schemas import ContainerEntry

COMPOSE = "services:\n  web:\n    image: busybox\n"
LIST = "/api/containers"
READ, WRITE, DELETE = "containers:read", "containers:write", "containers:delete"
ALL = [READ, WRITE, DELETE]
ROUTES = [
    ("GET", "/logs", READ, Level.READ),
    ("GET", "/logs?follow=1", READ, Level.READ),
    ("POST", "/start", WRITE, Level.WRITE),
    ("POST", "/stop", WRITE, Level.WRITE),
    ("POST", "/restart", WRITE, Level.WRITE),
    ("DELETE", "", DELETE, Level.ADMIN),
]


@pytest.fixture
def blog(bench: Any) -> Any:
    """A deployment ``blog`` with a container, one of ``shop``, and one of nobody."""
    bench.create(compose=COMPOSE, auto_start=True)
    bench.create("shop", compose=COMPOSE, auto_start=True)
    (bench.web,) = bench.engine.of_project("blog")
    (bench.shop,) = bench.engine.of_project("shop")
    bench.lone = bench.engine.add("lone", image="redis:7", state="exited")
    return bench


def names(client: Any, query: str = "") -> list[str]:
    answer = client.get(f"{LIST}?{query}")
    assert answer.status_code == 200
    return [item["name"] for item in answer.get_json()["containers"]]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def test_the_list_has_exactly_the_contracts_keys(blog: Any) -> None:
    blog.engine.set_state(blog.shop.id, "running")
    blog.web.ports = ("0.0.0.0:8080->80/tcp",)
    body = blog.client.get(LIST).get_json()
    assert list(body) == ["containers"]
    item = next(item for item in body["containers"] if item["name"] == blog.web.name)
    assert item == {
        "id": blog.web.id[:12],
        "name": blog.web.name,
        "image": "busybox",
        "state": "running",
        "status": "Up 1 second",
        "health": "none",
        "ports": ["0.0.0.0:8080->80/tcp"],
        "created": item["created"],
        "deployment": "blog",
        "service": "web",
    }
    assert set(item) == set(ContainerEntry().fields)
    assert item["created"].endswith("Z")
    lone = next(item for item in body["containers"] if item["name"] == "lone")
    assert (lone["deployment"], lone["service"], lone["state"]) == (None, None, "exited")


def test_the_list_is_by_name_and_may_leave_out_what_does_not_run(blog: Any) -> None:
    everything = sorted([blog.web.name, blog.shop.name, "lone"])
    assert names(blog.client) == everything
    assert names(blog.client, "all=true") == everything
    assert names(blog.client, "all=FALSE") == sorted([blog.web.name, blog.shop.name])
    assert refusal(blog.client.get(f"{LIST}?all=maybe")) == (400, "VALIDATION_ERROR")


def test_the_list_is_at_most_a_second_old(blog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ages: list[float] = []
    real = blog.engine.containers

    def containers(*, max_age: float = 60.0) -> Any:
        ages.append(max_age)
        return real(max_age=max_age)

    monkeypatch.setattr(blog.engine, "containers", containers)
    names(blog.client)
    assert min(ages) <= 1.0


def test_the_list_has_only_what_one_may_read(blog: Any, flatrun_login: Any) -> None:
    assert names(flatrun_login(blog.app, [READ], {"blog": Level.READ})) == [blog.web.name]
    assert names(flatrun_login(blog.app, [READ], {})) == []
    assert "lone" in names(flatrun_login(blog.app, [READ], unscoped=True, role="admin"))
    assert "lone" not in names(flatrun_login(blog.app, [READ], unscoped=True))
    assert refusal(flatrun_login(blog.app, [], unscoped=True).get(LIST)) == (403, "PERMISSION_DENIED")


def test_a_container_of_a_project_that_is_no_deployment_belongs_to_nobody(
    blog: Any, flatrun_login: Any
) -> None:
    foreign = blog.engine.add("foreign", labels={PROJECT_LABEL: "foreign", SERVICE_LABEL: "web"})
    scoped = flatrun_login(blog.app, ALL, {"foreign": Level.ADMIN})
    assert names(scoped) == []
    assert refusal(scoped.post(f"{LIST}/{foreign.id}/stop")) == (403, "DEPLOYMENT_FORBIDDEN")


def test_a_container_is_found_by_id_short_id_and_name(blog: Any) -> None:
    for ref in (blog.web.id, blog.web.id[:12], blog.web.id[:6], blog.web.name):
        answer = blog.client.post(f"{LIST}/{ref}/stop")
        assert answer.status_code == 200
        assert answer.get_json() == {"message": "Container stopped", "id": ref}


def test_start_stop_and_restart_do_it_and_may_be_repeated(blog: Any) -> None:
    path = f"{LIST}/{blog.web.name}"
    for action, done, state in (
        ("stop", "stopped", "exited"),
        ("stop", "stopped", "exited"),
        ("start", "started", "running"),
        ("start", "started", "running"),
        ("restart", "restarted", "running"),
    ):
        answer = blog.client.post(f"{path}/{action}")
        assert answer.get_json() == {"message": f"Container {done}", "id": blog.web.name}
        assert blog.web.state == state


@pytest.mark.parametrize("state", ["running", "paused", "restarting"])
def test_a_container_that_is_not_stopped_is_not_removed(blog: Any, state: str) -> None:
    blog.engine.set_state(blog.web.id, state)
    assert refusal(blog.client.delete(f"{LIST}/{blog.web.id}")) == (409, "CONTAINER_RUNNING")
    assert blog.web.name in names(blog.client)


@pytest.mark.parametrize("state", ["exited", "created", "dead"])
def test_a_stopped_container_is_removed(blog: Any, state: str) -> None:
    blog.engine.set_state(blog.web.id, state)
    answer = blog.client.delete(f"{LIST}/{blog.web.name}")
    assert answer.get_json() == {"message": "Container removed", "id": blog.web.name}
    assert blog.web.name not in names(blog.client)


@pytest.mark.parametrize(("method", "what", "permission", "level"), ROUTES)
def test_each_route_needs_its_permission_and_level(
    blog: Any, flatrun_login: Any, method: str, what: str, permission: str, level: Level
) -> None:
    blog.engine.set_state(blog.web.id, "exited", exit_code=0)
    path = f"{LIST}/{blog.web.name}{what}"
    others = [other for other in ALL if other != permission]
    assert refusal(flatrun_login(blog.app, others, {"blog": Level.ADMIN}).open(method, path)) == (
        403,
        "PERMISSION_DENIED",
    )
    for held in Level:
        client = flatrun_login(blog.app, [permission], {"blog": held})
        answer = client.open(method, path, buffered=False)
        assert (answer.status_code == 403) == (held < level), (held, answer.status_code)
        answer.close()
        if answer.status_code == 200:
            break


@pytest.mark.parametrize(("method", "what"), [(method, what) for method, what, _, _ in ROUTES])
@pytest.mark.parametrize("ref", ["lone", "shop", "unknown", "0123456789ab", "-bad", "a%20b", "ü"])
def test_scoped_actors_cannot_tell_what_exists(
    blog: Any, flatrun_login: Any, method: str, what: str, ref: str
) -> None:
    ref = blog.shop.name if ref == "shop" else ref
    client = flatrun_login(blog.app, ALL, {"blog": Level.ADMIN})
    assert refusal(client.open(method, f"{LIST}/{ref}{what}")) == (403, "DEPLOYMENT_FORBIDDEN")


@pytest.mark.parametrize(("method", "what"), [(method, what) for method, what, _, _ in ROUTES])
def test_unscoped_actors_are_told_what_is_wrong(blog: Any, method: str, what: str) -> None:
    for ref in ("unknown", "0123456789ab", "abc"):
        answer = blog.client.open(method, f"{LIST}/{ref}{what}")
        assert refusal(answer) == (404, "CONTAINER_NOT_FOUND")
    for ref in ("-bad", "a%20b", "ü", "a%00b", "a%0Ab"):
        assert blog.client.open(method, f"{LIST}/{ref}{what}").status_code == 400


@pytest.mark.parametrize(("method", "what"), [(method, what) for method, what, _, _ in ROUTES])
def test_an_ill_name_is_refused_without_asking_docker(blog: Any, method: str, what: str) -> None:
    blog.engine.down = True
    assert blog.client.open(method, f"{LIST}/-bad{what}").status_code == 400


@pytest.mark.parametrize(
    ("method", "what"), [("GET", ""), *((method, f"/web{what}") for method, what, _, _ in ROUTES)]
)
def test_with_docker_down_there_is_an_error(blog: Any, method: str, what: str) -> None:
    blog.engine.down = True
    assert refusal(blog.client.open(method, LIST + what)) == (503, "DOCKER_UNAVAILABLE")


def test_the_text_of_a_log_has_both_streams_and_no_prefix(blog: Any) -> None:
    first = blog.engine.write_log(blog.web.id, "out")
    second = blog.engine.write_log(blog.web.id, "\x1b[31merr\x1b[0m", "stderr")
    path = f"{LIST}/{blog.web.name}/logs"
    assert blog.client.get(path).get_json() == {"id": blog.web.name, "logs": "out\nerr\n"}
    assert blog.client.get(f"{path}?tail=1&timestamps=true").get_json()["logs"] == f"{second.timestamp} err\n"
    assert blog.client.get(f"{path}?since={first.timestamp}").get_json()["logs"] == "out\nerr\n"
    assert refusal(blog.client.get(f"{path}?tail=0")) == (400, "VALIDATION_ERROR")


def test_the_log_of_a_container_of_nobody_can_be_followed(blog: Any) -> None:
    blog.engine.set_state("lone", "running")
    blog.engine.write_log("lone", "hello")
    answer = blog.client.get(f"{LIST}/lone/logs?follow=1", buffered=False)
    text = b""
    for chunk in answer.response:
        text += bytes(chunk)
        if b"hello" in text:
            break
    answer.close()
    assert b'"service":null,"container":"lone"' in text


def test_a_log_that_cannot_be_read_is_an_error(blog: Any) -> None:
    blog.web.keeps_log = False
    for query in ("", "?follow=1"):
        answer = blog.client.get(f"{LIST}/{blog.web.name}/logs{query}")
        assert refusal(answer) == (500, "LOGS_UNAVAILABLE")
