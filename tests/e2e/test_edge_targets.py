"""Targets that stop, come back with another address, and are several: nobody reloads for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import docker
import pytest
from flatrun_e2e.edge import Edge, wait_until
from flatrun_e2e.sites import containers

HOST = "blog.example.test"


@pytest.fixture
def edge(module_edge: Edge) -> Edge:
    """Return the proxy of this module; what a test adds to it goes with the test's deployments."""
    return module_edge


@pytest.fixture
def name(edge: Edge, unique_name: str) -> Iterator[str]:
    """Return the name of a deployment that goes with the test."""
    yield unique_name
    edge.panel.delete(f"/api/deployments/{unique_name}?remove_files=true")


@pytest.fixture
def site(edge: Edge, name: str, application_image: str) -> str:
    """Return the name of a deployment that is served."""
    edge.site(name, application_image)
    edge.add(name, HOST)
    edge.wait(HOST, 200)
    return name


def workers(edge: Edge) -> set[str]:
    """Return the processes that answer; a reload makes others."""
    rows = edge.engine.top(edge.name, ps_args="-eo pid,args")["Processes"]
    return {row[0] for row in rows if "worker process" in row[1]}


def address(edge: Edge, name: str) -> str:
    """Return the address of a container on the proxy's network."""
    found = edge.engine.inspect_container(name)["NetworkSettings"]["Networks"]
    return str(found[edge.name]["IPAddress"])


def test_a_target_that_comes_back_elsewhere_is_followed_without_a_reload(
    edge: Edge,
    site: str,
    engine: docker.APIClient,
    new_name: Callable[[], str],
    application_image: str,
) -> None:
    [target] = containers(engine, site)
    before, processes = address(edge, target["Id"]), workers(edge)
    assert processes
    engine.remove_container(target["Id"], force=True)

    # Started behind the panel's back, which would have told nginx of it.
    squatter, successor = new_name(), new_name()
    try:
        for name, aliases in ((squatter, []), (successor, [f"{site}-web"])):
            there = engine.create_networking_config(
                {edge.name: engine.create_endpoint_config(aliases=aliases)}
            )
            engine.create_container(
                application_image, name=name, networking_config=there, environment={"NAME": name}
            )
            engine.start(name)
        assert address(edge, successor) != before
        wait_until(lambda: edge.answered_by(HOST), successor, 90)
    finally:
        for name in (squatter, successor):
            engine.remove_container(name, force=True, v=True)
    assert workers(edge) == processes


def test_a_deployment_that_is_stopped_and_started_is_served_again(edge: Edge, site: str) -> None:
    assert edge.panel.post(f"/api/deployments/{site}/stop").status_code == 200
    wait_until(lambda: edge.answered_by(HOST), "", 90)
    assert edge.panel.post(f"/api/deployments/{site}/restart").status_code == 200
    wait_until(lambda: edge.answered_by(HOST), site, 90)


def test_every_replica_answers(edge: Edge, name: str, application_image: str) -> None:
    edge.site(name, application_image, web={"scale": 2})
    edge.add(name, HOST)
    edge.wait(HOST, 200)
    assert len(containers(edge.engine, name, "web")) == 2
    seen: set[str] = set()
    # The first of them may have joined the network, and been looked up, before the second.
    wait_until(lambda: noted(seen, edge), 2, 60)


def noted(seen: set[str], edge: Edge) -> int:
    """Visit once more, and return how many have answered so far."""
    seen.add(str(edge.visit(HOST).json()["host"]))
    return len(seen)


def test_a_target_that_takes_no_connection_is_warned_of(
    edge: Edge, name: str, application_image: str
) -> None:
    edge.site(name, application_image)
    answer = edge.add(name, HOST, port=9)
    warnings = answer["proxy_result"].get("target_warnings", [])
    assert len(warnings) == 1, answer
    assert f"{name}-web" in warnings[0]
    edge.wait(HOST, 502)
