"""What is said of the deployments that exist, and of whose a container is."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Conflict
from flatrun_core.ports.docker import PROJECT_LABEL, SERVICE_LABEL

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"


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


def test_a_broken_service_yml_is_listed_as_error_and_left_untouched(
    bench: Any, post: Callable[..., Any]
) -> None:
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
