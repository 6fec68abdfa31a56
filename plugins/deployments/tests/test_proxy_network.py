"""Containers with routes join the proxy's network when they start."""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import Failed
from flatrun_core.ports.deployments import ROUTES
from flatrun_core.ports.docker import PROJECT_LABEL, SERVICE_LABEL
from flatrun_core.testing.client import ADMIN_KEY
from flatrun_deployments.service import SERVICE


class FakeRoutes:
    """The service web of every deployment is routed."""

    def plan(self, name: str, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        return metadata

    def networks(self, name: str) -> Mapping[str, tuple[str, ...]]:
        return {"web": (f"{name}-web",)}


@pytest.fixture
def routed(make_bench: Callable[..., Any], new_neighbour: Any, tmp_path: Path) -> Any:
    """Return a panel with routes for every service called web, and a settings file."""
    domains = new_neighbour("domains")
    domains.offers[ROUTES] = FakeRoutes()
    config = tmp_path / "flatrun.yml"
    known = {"deployments_path": str(tmp_path / "deployments"), "auth": {"api_keys": [ADMIN_KEY]}}
    config.write_text(json.dumps(known))
    return make_bench(domains, config=config)


def change(bench: Any, network: str) -> None:
    """Change the proxy's network as a person does."""
    body = {"infrastructure": {"default_proxy_network": network}}
    answer = bench.client.put("/api/settings", json=body)
    assert answer.status_code == 200, answer.get_data(as_text=True)


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


def test_containers_follow_the_proxy_to_another_network(
    routed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    routed.create()
    labels = {PROJECT_LABEL: "blog", SERVICE_LABEL: "web"}
    containers = [routed.engine.add(name, state="running", labels=labels) for name in ("a", "b")]
    stopped = routed.engine.add("c", state="exited", labels=labels)
    db = routed.engine.add("d", state="running", labels={**labels, SERVICE_LABEL: "db"})
    for container in (*containers, stopped):
        container.networks["proxy"] = ("blog-web",)
    routed.engine.fail_next("connect_network", Failed("no"))
    change(routed, "edge")
    assert "could not be connected" in caplog.text
    assert [container.networks.get("edge") for container in containers].count(("blog-web",)) == 1
    change(routed, "proxy")
    change(routed, "edge")
    assert [container.networks["edge"] for container in containers] == [("blog-web",)] * 2
    assert "edge" not in stopped.networks
    assert "edge" not in db.networks
    routed.client.post("/api/deployments/blog/restart")
    assert "edge" in (routed.root / "blog" / ".flatrun.override.yml").read_text()


def test_a_change_of_networks_while_docker_is_away_is_made_good_when_it_is_back(routed: Any) -> None:
    routed.create()
    service = routed.app.extensions["flatrun"].services.get(SERVICE)
    web = routed.engine.add("a", state="running", labels={PROJECT_LABEL: "blog", SERVICE_LABEL: "web"})
    service.serve()
    try:
        routed.engine.down = True
        change(routed, "edge")
        assert "edge" not in web.networks
        routed.engine.down = False
        wait_for(lambda: "edge" in web.networks)
    finally:
        service.shutdown()


def test_other_settings_move_nobody(routed: Any) -> None:
    routed.create()
    web = routed.engine.add("a", state="running", labels={PROJECT_LABEL: "blog", SERVICE_LABEL: "web"})
    answer = routed.client.put(
        "/api/settings", json={"infrastructure": {"default_database_network": "databases"}}
    )
    assert answer.status_code == 200
    assert "proxy" not in web.networks
