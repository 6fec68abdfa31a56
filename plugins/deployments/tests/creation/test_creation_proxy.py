"""Creations that are exposed: the proxy's network, and the routes published."""

from collections.abc import Mapping
from typing import Any

import pytest

from flatrun_core import Failed, NotFound
from flatrun_core.ports.deployments import ROUTES

EXPOSED = {"networking": {"expose": True, "domain": "a.example"}}


class FakeRoutes:
    """Routes of every exposed deployment's service web."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.failures: list[Exception] = []
        self.known: set[str] = set()

    def plan(self, name: str, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        return metadata

    def publish(self, name: str) -> Mapping[str, Any]:
        self.published.append(name)
        if self.failures:
            raise self.failures.pop(0)
        return {"deployment_name": name, "success": True}

    def status(self, name: str) -> Mapping[str, Any]:
        return {"deployment_name": name, "exposed": True}

    def networks(self, name: str) -> Mapping[str, tuple[str, ...]]:
        if self.known and name not in self.known:
            raise NotFound("Deployment not found", code="DEPLOYMENT_NOT_FOUND")
        return {"web": (f"{name}-web",)}


@pytest.fixture
def routed(make_bench: Any, new_neighbour: Any) -> Any:
    """Return a panel with fake routes."""
    neighbour = new_neighbour("domains")
    neighbour.offers[ROUTES] = FakeRoutes()
    return make_bench(neighbour)


def test_an_exposed_creation_without_a_proxy_says_so(bench: Any) -> None:
    result = bench.create(metadata={"networking": {"expose": True, "domain": "a.example"}})["proxy_result"]
    assert result["skipped"] is True
    assert result["success"] is False
    assert result["deployment_name"] == "blog"


def test_an_exposed_creation_joins_the_proxy_network_and_is_published(routed: Any) -> None:
    result = routed.create(auto_start=True, metadata=EXPOSED)["proxy_result"]
    assert result == {"deployment_name": "blog", "success": True}
    assert "proxy" in routed.engine.networks()
    assert next(iter(routed.engine.containers())).networks == ("blog_default", "proxy")
    assert routed.client.get("/api/deployments/blog").get_json()["proxy_status"]["exposed"] is True


def test_publishing_is_tried_three_times_and_its_failure_is_told(routed: Any) -> None:
    routes = routed.neighbours["domains"].offers[ROUTES]
    routes.failures = [Failed("busy"), Failed("busy")]
    assert routed.create(metadata=EXPOSED)["proxy_result"]["success"] is True
    routes.failures = [Failed("no"), Failed("no"), Failed("never")]
    result = routed.create(name="two", metadata=EXPOSED)["proxy_result"]
    assert (result["success"], result["skipped"], result["message"]) == (False, False, "never")
    assert routes.published == ["blog"] * 3 + ["two"] * 3


def test_an_exposed_creation_needs_the_engine_for_its_network(routed: Any) -> None:
    routed.engine.down = True
    routed.refused(503, "DOCKER_UNAVAILABLE", metadata=EXPOSED)
    assert routed.tree() == {}


def test_routes_that_do_not_know_an_unfinished_deployment_do_not_stop_it(routed: Any) -> None:
    routed.neighbours["domains"].offers[ROUTES].known = {"another"}
    routed.create(metadata=EXPOSED)
