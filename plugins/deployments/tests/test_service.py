"""What happens to deployments that exist: listing, actions, removal, edits, the proxy network."""

import errno
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flatrun_core import Conflict, Failed, Invalid, NotFound, TimedOut
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.deployments import ROUTES, RemovedItem, RemoveOptions
from flatrun_core.ports.docker import PROJECT_LABEL, SERVICE_LABEL
from flatrun_deployments.service import SERVICE

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"


class FakeRoutes:
    """The service web of every deployment is routed."""

    def networks(self, name: str) -> Mapping[str, tuple[str, ...]]:
        return {"web": (f"{name}-web",)}


def post(bench: Any, action: str, name: str = "blog") -> Any:
    return bench.client.post(f"/api/deployments/{name}/{action}")


# --- listing ---


def test_what_is_edited_by_hand_shows_on_the_next_request(bench: Any) -> None:
    assert bench.names() == []
    folder = bench.root / "by-hand"
    folder.mkdir()
    (folder / "compose.yaml").write_text(COMPOSE)
    assert bench.names() == ["by-hand"]
    (folder / "compose.yaml").write_text(COMPOSE + "  db:\n    image: x\n")
    services = bench.client.get("/api/deployments").get_json()[0]["services"]
    assert [service["name"] for service in services] == ["web", "db"]


def test_an_unchanged_deployment_is_the_same_object_again(bench: Any) -> None:
    bench.create()
    bench.create(name="other", auto_start=True)
    import time

    time.sleep(0.15)  # younger files are read again, they might change once more
    bench.deployments.list()
    first = bench.deployments.list()
    assert [a is b for a, b in zip(first, bench.deployments.list(), strict=True)] == [True, True]
    bench.engine.set_state(next(iter(bench.engine.containers())).id, "exited", exit_code=1)
    second = bench.deployments.list()
    assert [a is b for a, b in zip(first, second, strict=True)] == [True, False]
    assert second[1].status == "error"


def test_a_broken_service_yml_is_listed_as_error_and_left_untouched(bench: Any) -> None:
    bench.create(auto_start=True)
    file = bench.root / "blog" / "service.yml"
    file.write_text("networking: [not, a, mapping\n")
    item = bench.client.get("/api/deployments").get_json()[0]
    assert (item["status"], item["services"]) == ("error", [])
    detail = bench.client.get("/api/deployments/blog").get_json()
    assert detail["deployment"]["metadata"] is None
    assert post(bench, "restart").status_code == 200
    with pytest.raises(Conflict), bench.deployments.edit("blog") as document:
        document["type"] = "web"
    assert file.read_text() == "networking: [not, a, mapping\n"


def test_the_engine_down_makes_everything_unknown_and_back_right(bench: Any) -> None:
    bench.create(auto_start=True)
    bench.engine.down = True
    item = bench.client.get("/api/deployments").get_json()[0]
    assert (item["status"], item["services"]) == (
        "unknown",
        [{"name": "web", "status": "unknown", "health": "none"}],
    )
    bench.engine.down = False
    assert bench.client.get("/api/deployments").get_json()[0]["status"] == "running"


# --- actions ---


def test_actions_run_the_contracts_commands_and_tell(bench: Any) -> None:
    bench.create()
    for action in ("start", "start", "stop", "restart"):
        answer = post(bench, action)
        assert answer.status_code == 200
        done = {"start": "started", "stop": "stopped", "restart": "restarted"}[action]
        assert answer.get_json()["message"] == f"Deployment {done}"
    assert [call.args for call in bench.compose.calls[1:]] == [
        ("up", "-d", "--remove-orphans"),
        ("up", "-d", "--remove-orphans"),
        ("stop",),
        ("up", "-d", "--force-recreate", "--remove-orphans"),
    ]
    events = [what for what, _ in bench.neighbours["neighbour"].events]
    assert events == ["created", "started", "started", "stopped", "started"]
    env = bench.compose.calls[-1].project.env
    assert {"FLATRUN_UID", "FLATRUN_GID"} <= set(env)


def test_the_override_is_made_anew_before_each_action(bench: Any, free_port: int) -> None:
    bench.create(port=free_port)
    override = bench.root / "blog" / ".flatrun.override.yml"
    override.write_text("services: {web: {image: tampered}}\n")
    post(bench, "start")
    assert f"{free_port}:80" in override.read_text()
    with bench.deployments.edit("blog") as document:
        document["networking"]["host_port"] = free_port + 1
    post(bench, "restart")
    assert next(iter(bench.engine.containers())).ports == (f"0.0.0.0:{free_port + 1}->80/tcp",)


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        ({"output": "boom"}, 500, "COMPOSE_FAILED"),
        (
            {"output": "could not find an available, non-overlapping IPv4 address pool"},
            500,
            "NETWORK_POOL_EXHAUSTED",
        ),
        ({"output": "Bind for 0.0.0.0:80 failed: port is already allocated"}, 409, "PORT_IN_USE"),
        ({"error": TimedOut("too long")}, 504, "TIMED_OUT"),
    ],
)
def test_what_compose_answers_becomes_the_contracts_error(
    bench: Any, failure: dict[str, Any], status: int, code: str
) -> None:
    bench.create()
    bench.compose.fail_next(command="up", **failure)
    answer = post(bench, "start")
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    if "output" in failure:
        assert failure["output"] in answer.get_json()["output"]


def test_the_engine_down_is_503(bench: Any) -> None:
    bench.create()
    bench.engine.down = True
    assert post(bench, "start").get_json()["code"] == "DOCKER_UNAVAILABLE"


def test_a_compose_file_that_cannot_be_read_fails_start_but_not_stop(bench: Any) -> None:
    bench.create(auto_start=True)
    file = bench.root / "blog" / "docker-compose.yml"
    file.write_text("services: [")
    answer = post(bench, "start")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "COMPOSE_FAILED")
    assert answer.get_json()["output"]
    post(bench, "stop")
    assert bench.compose.calls[-1].project.files == ()
    assert bench.compose.calls[-1].project.name == "blog"
    assert file.read_text() == "services: ["


@pytest.mark.parametrize("name", ["nope", "..", "a%20b", "-x", "a" * 129])
def test_actions_on_what_is_not_there(bench: Any, name: str) -> None:
    answer = post(bench, "start", name)
    expected = (404, "DEPLOYMENT_NOT_FOUND") if name == "nope" else (400, "INVALID_NAME")
    assert (answer.status_code, answer.get_json()["code"]) == expected or (
        name == ".." and answer.status_code == 404
    )


def test_an_unknown_action_is_refused(bench: Any) -> None:
    bench.create()
    with pytest.raises(Invalid):
        bench.deployments.act("blog", "explode", SYSTEM)


def test_one_operation_at_a_time(bench: Any) -> None:
    bench.create()
    started, go = threading.Event(), threading.Event()
    run = bench.compose.run

    def slow(*args: Any, **kwargs: Any) -> Any:
        started.set()
        go.wait(10)
        return run(*args, **kwargs)

    bench.compose.run = slow
    with ThreadPoolExecutor() as pool:
        first = pool.submit(post, bench, "start")
        assert started.wait(10)
        for method, path in (("POST", "/start"), ("POST", "/stop"), ("POST", "/restart"), ("DELETE", "")):
            answer = bench.client.open(method, f"/api/deployments/blog{path}")
            assert (answer.status_code, answer.get_json()["code"]) == (409, "OPERATION_IN_PROGRESS"), path
        assert bench.client.get("/api/deployments/blog").status_code == 200
        go.set()
        assert first.result().status_code == 200
    assert post(bench, "stop").status_code == 200


def test_exclusive_holds_the_deployment_and_its_thread_may_go_on(bench: Any) -> None:
    bench.create()
    with bench.deployments.exclusive("blog") as held:
        assert held.name == "blog"
        assert bench.deployments.act("blog", "start", SYSTEM).action == "start"
        with ThreadPoolExecutor() as pool:
            assert pool.submit(post, bench, "stop").result().status_code == 409
    with pytest.raises(NotFound), bench.deployments.exclusive("nope"):
        pass


# --- edit ---


def test_an_edit_keeps_comments_and_tells(bench: Any) -> None:
    bench.create()
    file = bench.root / "blog" / "service.yml"
    file.write_text("# mine\nname: blog  # too\nextra: {a: 1}\n")
    with bench.deployments.edit("blog") as document:
        document["type"] = "web"
    assert file.read_text() == "# mine\nname: blog  # too\nextra: {a: 1}\ntype: web\n"
    assert bench.neighbours["neighbour"].events[-1][0] == "changed"


def test_an_edit_that_fails_puts_the_bytes_back_and_tells_nobody(bench: Any) -> None:
    bench.create()
    file = bench.root / "blog" / "service.yml"
    before = file.read_bytes()

    def failing() -> None:
        with bench.deployments.edit("blog") as document:
            document["type"] = "web"
            document.save()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert file.read_bytes() == before
    assert [what for what, _ in bench.neighbours["neighbour"].events] == ["created"]


# --- removal ---


def test_files_stay_by_default_and_the_deployment_is_gone(bench: Any) -> None:
    bench.create(auto_start=True)
    answer = bench.client.delete("/api/deployments/blog")
    assert answer.get_json() == {
        "message": "Deployment deleted",
        "name": "blog",
        "files_removed": False,
        "deleted_items": [],
    }
    assert bench.names() == []
    assert bench.client.get("/api/deployments/blog").status_code == 404
    assert bench.client.delete("/api/deployments/blog").status_code == 404
    assert (bench.root / "blog" / "docker-compose.yml").read_text() == COMPOSE
    assert not list(bench.engine.containers())
    assert bench.neighbours["neighbour"].events[-1][0] == "removed"


def test_files_go_when_asked_and_links_are_not_followed(bench: Any, tmp_path: Any) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("keep")
    bench.create()
    (bench.root / "blog" / "link").symlink_to(outside)
    answer = bench.client.delete("/api/deployments/blog?remove_files=TRUE")
    assert answer.get_json()["files_removed"] is True
    assert not (bench.root / "blog").exists()
    assert (outside / "keep").read_text() == "keep"


def test_a_folder_that_is_a_link_loses_the_link_only(bench: Any) -> None:
    bench.create(name="real")
    (bench.root / "alias").symlink_to(bench.root / "real")
    assert bench.names() == ["alias", "real"]
    bench.client.delete("/api/deployments/alias?remove_files=true")
    assert bench.names() == ["real"]


def test_down_that_fails_stops_everything(bench: Any) -> None:
    bench.create(auto_start=True)
    before = bench.tree()
    bench.compose.fail_next("stuck", command="down")
    answer = bench.client.delete("/api/deployments/blog?remove_files=1")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "COMPOSE_FAILED")
    assert bench.tree() == before
    assert bench.names() == ["blog"]
    assert [what for what, _ in bench.neighbours["neighbour"].events] == ["created", "started"]


def test_down_that_fails_leaves_no_trace_of_the_mark_to_be(bench: Any) -> None:
    bench.create(auto_start=True)
    before = bench.tree()
    bench.compose.fail_next("stuck", command="down")
    assert bench.client.delete("/api/deployments/blog").status_code == 500
    assert bench.tree() == before
    assert bench.names() == ["blog"]


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_refuses_to_keep_the_files_before_anything_is_done(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.create(auto_start=True)
    (container,) = bench.engine.of_project("blog")
    before, commands = bench.tree(), bench.compose.commands()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        answer = bench.client.delete("/api/deployments/blog")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "STORAGE_FULL")
    assert bench.tree() == before
    assert bench.compose.commands() == commands
    assert container.state == "running"
    assert [(found.name, found.status) for found in bench.deployments.list()] == [("blog", "running")]
    assert [what for what, _ in bench.neighbours["neighbour"].events] == ["created", "started"]
    assert bench.client.delete("/api/deployments/blog").status_code == 200


def test_a_disk_that_is_full_after_down_has_room_for_the_mark(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.create(auto_start=True)

    def fill(removal: Any) -> list[RemovedItem]:
        monkeypatch.setattr("flatrun_deployments.files._write_temporary", full)
        return []

    bench.neighbours["neighbour"].on_remove = fill
    assert bench.client.delete("/api/deployments/blog").status_code == 200
    assert bench.names() == []
    assert sorted(bench.tree()) == ["blog/.flatrun-removed", "blog/docker-compose.yml", "blog/service.yml"]


def test_a_full_disk_does_not_keep_files_from_going(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.create(auto_start=True)
    monkeypatch.setattr("flatrun_deployments.files._write_temporary", full)
    answer = bench.client.delete("/api/deployments/blog?remove_files=true")
    assert answer.get_json()["files_removed"] is True
    assert bench.tree() == {}


def test_down_that_fails_does_not_keep_what_has_no_container(bench: Any) -> None:
    bench.create()
    bench.compose.fail_next("compose refuses", command="down")
    answer = bench.client.delete("/api/deployments/blog?remove_volumes=true")
    assert answer.status_code == 200
    assert "compose refuses" in answer.get_json()["warnings"][0]
    assert bench.names() == []


def test_with_the_engine_down_nobody_can_say_and_everything_stays(bench: Any) -> None:
    bench.create()
    bench.engine.down = True
    answer = bench.client.delete("/api/deployments/blog?remove_files=true")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "DOCKER_UNAVAILABLE")
    bench.engine.down = False
    assert bench.names() == ["blog"]


def test_volumes_go_only_when_asked(bench: Any) -> None:
    text = COMPOSE + "    volumes: ['d:/d']\nvolumes:\n  d: {}\n"
    bench.create(compose=text, auto_start=True)
    bench.client.delete("/api/deployments/blog")
    assert bench.engine.volumes("blog") == ["blog_d"]
    bench.create(compose=text, auto_start=True)
    bench.client.delete("/api/deployments/blog?remove_volumes=true")
    assert bench.engine.volumes("blog") == []


def test_plugins_join_a_removal_and_their_failures_are_warnings(
    make_bench: Callable[..., Any], new_neighbour: Any
) -> None:
    seen: list[Any] = []
    first, second, third = (new_neighbour(f"n{number}") for number in (1, 2, 3))

    def known(removal: Any) -> list[RemovedItem]:
        seen.append(removal)
        raise Failed("the proxy is stuck")

    def unknown(removal: Any) -> list[RemovedItem]:
        raise RuntimeError("/secret/path")

    first.on_remove, second.on_remove = known, unknown
    third.on_remove = lambda removal: [RemovedItem("virtual_host"), RemovedItem("database:primary")]
    bench = make_bench(first, second, third)
    bench.create(metadata={"type": "web"})
    answer = bench.client.delete(
        "/api/deployments/blog?delete_database=1&delete_ssl=0&delete_vhost=false"
    ).get_json()
    assert answer["deleted_items"] == ["virtual_host", "database:primary"]
    assert answer["warnings"] == ["n1: the proxy is stuck", "n2: failed, see the log"]
    assert seen[0].options == RemoveOptions(certificates=False, vhost=False, databases=True)
    assert seen[0].deployment.metadata["type"] == "web"


def test_files_that_cannot_be_deleted_leave_a_warning_and_a_mark(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(*_: Any) -> None:
        raise Failed("The files of 'blog' could not all be deleted: busy", code="FILES_NOT_REMOVED")

    monkeypatch.setattr("flatrun_deployments.removal.tree.remove_tree", stuck)
    bench.create()
    answer = bench.client.delete("/api/deployments/blog?remove_files=true").get_json()
    assert answer["files_removed"] is False
    assert "busy" in answer["warnings"][0]
    assert bench.names() == []


@pytest.mark.parametrize("query", ["remove_files=maybe", "delete_ssl=", "remove_volumes=2"])
def test_a_query_that_is_no_boolean_is_400(bench: Any, query: str) -> None:
    bench.create()
    assert bench.client.delete(f"/api/deployments/blog?{query}").status_code == 400
    assert bench.names() == ["blog"]


# --- containers ---


def test_a_container_belongs_to_the_deployment_of_its_project(bench: Any) -> None:
    bench.names()
    folder = bench.root / "blog"
    folder.mkdir()
    (folder / "compose.yml").write_text("name: other-project\n" + COMPOSE)
    labels = {PROJECT_LABEL: "other-project", SERVICE_LABEL: "web"}
    mine = bench.engine.add("mine", labels=labels)
    foreign = bench.engine.add("foreign", labels={PROJECT_LABEL: "stranger"})
    lone = bench.engine.add("lone")
    found = [bench.deployments.of_container(ref) for ref in (mine.id, "mine", foreign.id, lone.id, "nope")]
    assert found == ["blog", "blog", None, None, None]


# --- the proxy network ---


@pytest.fixture
def routed(make_bench: Callable[..., Any], new_neighbour: Any) -> Any:
    """Return a panel with routes for every service called web."""
    domains = new_neighbour("domains")
    domains.offers[ROUTES] = FakeRoutes()
    return make_bench(domains)


def wait_for(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(200):
        if condition():
            return
        tick.wait(0.02)
    raise AssertionError("it did not happen")


def test_a_routed_container_that_starts_without_the_proxy_network_is_connected(routed: Any) -> None:
    routed.create()
    labels = {PROJECT_LABEL: "blog", SERVICE_LABEL: "web"}
    before = routed.engine.add("before", state="running", labels=labels)
    service = routed.app.extensions["flatrun"].services.get(SERVICE)
    service.serve()
    try:
        web = routed.engine.add("blog-web-1", state="created", labels=labels)
        db = routed.engine.add("blog-db-1", state="created", labels={**labels, SERVICE_LABEL: "db"})
        for container in (web, db):
            routed.engine.start(container.id)
        wait_for(lambda: "proxy" in web.networks)
        assert web.networks["proxy"] == ("blog-web",)
        assert "proxy" not in db.networks
        routed.engine.down = True
        routed.engine.down = False
        wait_for(lambda: "proxy" in before.networks)
    finally:
        service.shutdown()


def test_without_routes_no_container_is_touched(bench: Any) -> None:
    bench.create()
    service = bench.app.extensions["flatrun"].services.get(SERVICE)
    service.serve()
    web = bench.engine.add("w", state="created", labels={PROJECT_LABEL: "blog", SERVICE_LABEL: "web"})
    bench.engine.start(web.id)
    service.shutdown()
    assert "proxy" not in web.networks


def test_a_failure_to_connect_does_not_end_the_watch(routed: Any, caplog: pytest.LogCaptureFixture) -> None:
    routed.create()
    service = routed.app.extensions["flatrun"].services.get(SERVICE)
    service.serve()
    try:
        labels = {PROJECT_LABEL: "blog", SERVICE_LABEL: "web"}
        routed.engine.fail_next("connect_network", Failed("no"))
        first = routed.engine.add("a", state="created", labels=labels)
        routed.engine.start(first.id)
        wait_for(lambda: "could not be connected" in caplog.text)
        second = routed.engine.add("b", state="created", labels=labels)
        routed.engine.start(second.id)
        wait_for(lambda: "proxy" in second.networks)
    finally:
        service.shutdown()
