"""Removal: what goes, what stays, and what of it a failure leaves."""

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Failed
from flatrun_core.ports.deployments import RemovedItem, RemoveOptions

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"


# --- files ---


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


# --- containers and volumes ---


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


# --- a full disk ---


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


# --- other plugins, and the request ---


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


@pytest.mark.parametrize("query", ["remove_files=maybe", "delete_ssl=", "remove_volumes=2"])
def test_a_query_that_is_no_boolean_is_400(bench: Any, query: str) -> None:
    bench.create()
    assert bench.client.delete(f"/api/deployments/blog?{query}").status_code == 400
    assert bench.names() == ["blog"]
