"""Two folders with one compose project: what is done to one would be done to the other's containers."""

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from flatrun_core import Level
from flatrun_deployments.log_stream import DeploymentSource
from flatrun_deployments.service import SERVICE
from flatrun_deployments.status import sharing

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"
PAIRS = [("UPPER", "", "upper", ""), ("hand", "name: rc2\n", "rc2", ""), ("a", "name: x\n", "b", "name: x\n")]


def by_hand(bench: Any, name: str, head: str = "") -> Any:
    bench.names()  # makes the root
    folder = bench.root / name
    folder.mkdir()
    (folder / "compose.yml").write_text(head + COMPOSE)
    return folder


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


@pytest.fixture
def pair(bench: Any) -> Any:
    """``upper`` with a running container, and ``UPPER`` that was made by hand afterwards."""
    bench.create("upper", auto_start=True)
    (bench.web,) = bench.engine.of_project("upper")
    by_hand(bench, "UPPER")
    return bench


@pytest.mark.parametrize(
    ("folder", "head", "new"),
    [("UPPER", "", "upper"), ("Foo.bar", "", "foobar"), ("hand", "name: rc2\n", "rc2"), ("UP", "a: [", "up")],
)
def test_a_name_that_is_another_folders_project_is_refused(
    bench: Any, folder: str, head: str, new: str
) -> None:
    by_hand(bench, folder, head)
    before = bench.tree()
    assert f"'{folder}'" in bench.refused(409, "PROJECT_IN_USE", name=new)
    assert bench.tree() == before
    assert bench.names() == [folder]
    assert bench.compose.commands() == []


def test_a_namesake_exists_already_whatever_else_has_its_project(bench: Any) -> None:
    by_hand(bench, "blog", "name: other\n")
    by_hand(bench, "hand", "name: blog\n")
    bench.refused(409, "DEPLOYMENT_EXISTS")


def test_the_project_of_a_removed_folder_is_free(bench: Any) -> None:
    by_hand(bench, "UPPER")
    assert bench.client.delete("/api/deployments/UPPER").status_code == 200
    bench.create("upper")


@pytest.mark.parametrize(("first", "first_head", "second", "second_head"), PAIRS)
def test_both_are_errors_that_name_each_other(
    bench: Any, first: str, first_head: str, second: str, second_head: str
) -> None:
    by_hand(bench, first, first_head)
    by_hand(bench, second, second_head)
    by_hand(bench, "alone")
    assert {item["name"]: item["status"] for item in bench.client.get("/api/deployments").get_json()} == {
        first: "error",
        second: "error",
        "alone": "stopped",
    }
    problems = {found.name: found.problem for found in bench.deployments.list()}
    assert f"'{second}'" in problems[first]
    assert f"'{first}'" in problems[second]
    assert problems["alone"] == ""
    assert bench.deployments.get(first).problem == problems[first]
    assert bench.client.get(f"/api/deployments/{second}").get_json()["deployment"]["status"] == "error"


@pytest.mark.parametrize("name", ["upper", "UPPER"])
@pytest.mark.parametrize(
    ("method", "suffix"),
    [
        ("POST", "/start"),
        ("POST", "/stop"),
        ("POST", "/restart"),
        ("DELETE", ""),
        ("DELETE", "?remove_files=true&remove_volumes=true"),
    ],
)
def test_nothing_is_done_to_either(pair: Any, name: str, method: str, suffix: str) -> None:
    before, commands = pair.tree(), pair.compose.commands()
    answer = pair.client.open(method, f"/api/deployments/{name}{suffix}")
    other = "UPPER" if name == "upper" else "upper"
    assert refusal(answer) == (409, "PROJECT_IN_USE")
    assert f"'{other}'" in answer.get_json()["error"]
    assert pair.tree() == before
    assert pair.compose.commands() == commands
    assert pair.web.state == "running"
    assert sorted(pair.names()) == ["UPPER", "upper"]


def test_a_broken_file_is_no_way_to_the_others_containers(pair: Any) -> None:
    (pair.root / "UPPER" / "compose.yml").write_text("a: [")
    assert refusal(pair.client.post("/api/deployments/UPPER/stop")) == (409, "PROJECT_IN_USE")
    assert refusal(pair.client.delete("/api/deployments/UPPER")) == (409, "PROJECT_IN_USE")
    assert pair.web.state == "running"
    assert "'upper'" in pair.deployments.get("UPPER").problem


def test_one_renamed_by_hand_ends_it(pair: Any) -> None:
    (pair.root / "UPPER").rename(pair.root / "lower")
    assert [found.status for found in pair.deployments.list()] == ["stopped", "running"]
    assert pair.client.delete("/api/deployments/lower?remove_files=true").status_code == 200
    assert pair.client.post("/api/deployments/upper/stop").status_code == 200
    assert pair.web.state == "exited"


@pytest.mark.parametrize("name", ["upper", "UPPER"])
def test_a_grant_of_one_reaches_none_of_the_containers(pair: Any, flatrun_login: Any, name: str) -> None:
    permissions = ["deployments:read", "containers:read", "containers:write", "containers:delete"]
    scoped = flatrun_login(pair.app, permissions, {name: Level.ADMIN})
    pair.engine.write_log(pair.web.name, "a secret")
    assert pair.deployments.of_container(pair.web.id) is None
    assert scoped.get("/api/containers").get_json()["containers"] == []
    for method, what in (("GET", "/logs"), ("POST", "/stop"), ("DELETE", "")):
        answer = scoped.open(method, f"/api/containers/{pair.web.id}{what}")
        assert refusal(answer) == (403, "DEPLOYMENT_FORBIDDEN")
    assert scoped.get(f"/api/deployments/{name}/logs").get_json()["logs"] == ""
    assert scoped.get(f"/api/deployments/{name}/stats").get_json()["services"] == []
    assert scoped.get(f"/api/deployments/{name}").get_json()["deployment"]["services"] == []
    assert pair.web.state == "running"


def test_whoever_has_no_scope_can_still_stop_a_container(pair: Any) -> None:
    (item,) = pair.client.get("/api/containers").get_json()["containers"]
    assert item["deployment"] is None
    assert pair.client.post(f"/api/containers/{pair.web.id}/stop").status_code == 200
    assert pair.web.state == "exited"


def test_a_followed_log_ends_when_another_folder_gets_the_project(bench: Any) -> None:
    bench.create("upper", auto_start=True)
    deployments = bench.deployments
    source = DeploymentSource(bench.engine, deployments, deployments.get("upper"), None)
    assert source.exists()
    by_hand(bench, "UPPER")
    assert not source.exists()


def test_it_is_logged_once(pair: Any, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        pair.names()
    told = [r.getMessage() for r in caplog.records if r.name == "flatrun_deployments.catalogue"]
    assert told == [
        "the folder UPPER has the compose project of upper too",
        "the folder upper has the compose project of UPPER too",
    ]


def test_the_same_objects_come_again_until_the_project_is_shared(bench: Any) -> None:
    bench.create("upper")
    bench.create("other")
    time.sleep(0.15)  # younger files are read again, they might change once more
    bench.deployments.list()
    first = {found.name: found for found in bench.deployments.list()}
    by_hand(bench, "UPPER")
    second = {found.name: found for found in bench.deployments.list()}
    assert second["other"] is first["other"]
    assert second["upper"].status == "error"
    (bench.root / "UPPER" / "compose.yml").unlink()
    assert [found.status for found in bench.deployments.list()] == ["stopped", "stopped"]


def test_with_docker_away_both_are_unknown_and_still_refused(pair: Any) -> None:
    pair.engine.down = True
    assert {found.status for found in pair.deployments.list()} == {"unknown"}
    assert refusal(pair.client.post("/api/deployments/upper/stop")) == (409, "PROJECT_IN_USE")


def test_no_folder_is_that_of_a_shared_project(pair: Any) -> None:
    catalogue = pair.app.extensions["flatrun"].services.get(SERVICE).catalogue
    assert catalogue.of_project("upper") is None


@pytest.mark.parametrize(
    ("projects", "expected"),
    [
        ({}, {}),
        ({"a": "a", "b": "b"}, {}),
        ({"a": "x", "b": "y", "c": "x"}, {"a": ("c",), "c": ("a",)}),
        ({"a": "x", "b": "x", "c": "x"}, {"a": ("b", "c"), "b": ("a", "c"), "c": ("a", "b")}),
    ],
)
def test_who_shares_with_whom(projects: Mapping[str, str], expected: Mapping[str, tuple[str, ...]]) -> None:
    folders: list[Any] = [SimpleNamespace(name=name, project=project) for name, project in projects.items()]
    assert sharing(folders) == expected
