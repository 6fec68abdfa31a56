"""Starting, stopping and restarting: the commands, the errors, and one operation at a time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flatrun_core import Invalid, NotFound, TimedOut
from flatrun_core.ports.auth import SYSTEM


def test_actions_run_the_contracts_commands_and_tell(bench: Any, post: Callable[..., Any]) -> None:
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


def test_the_override_is_made_anew_before_each_action(
    bench: Any, post: Callable[..., Any], free_port: int
) -> None:
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
    bench: Any, post: Callable[..., Any], failure: dict[str, Any], status: int, code: str
) -> None:
    bench.create()
    bench.compose.fail_next(command="up", **failure)
    answer = post(bench, "start")
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    if "output" in failure:
        assert failure["output"] in answer.get_json()["output"]


def test_the_engine_down_is_503(bench: Any, post: Callable[..., Any]) -> None:
    bench.create()
    bench.engine.down = True
    assert post(bench, "start").get_json()["code"] == "DOCKER_UNAVAILABLE"


def test_a_compose_file_that_cannot_be_read_fails_start_but_not_stop(
    bench: Any, post: Callable[..., Any]
) -> None:
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
def test_actions_on_what_is_not_there(bench: Any, post: Callable[..., Any], name: str) -> None:
    answer = post(bench, "start", name)
    expected = (404, "DEPLOYMENT_NOT_FOUND") if name == "nope" else (400, "INVALID_NAME")
    assert (answer.status_code, answer.get_json()["code"]) == expected or (
        name == ".." and answer.status_code == 404
    )


def test_an_unknown_action_is_refused(bench: Any) -> None:
    bench.create()
    with pytest.raises(Invalid):
        bench.deployments.act("blog", "explode", SYSTEM)


def test_one_operation_at_a_time(bench: Any, post: Callable[..., Any]) -> None:
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


def test_exclusive_holds_the_deployment_and_its_thread_may_go_on(
    bench: Any, post: Callable[..., Any]
) -> None:
    bench.create()
    with bench.deployments.exclusive("blog") as held:
        assert held.name == "blog"
        assert bench.deployments.act("blog", "start", SYSTEM).action == "start"
        with ThreadPoolExecutor() as pool:
            assert pool.submit(post, bench, "stop").result().status_code == 409
    with pytest.raises(NotFound), bench.deployments.exclusive("nope"):
        pass
