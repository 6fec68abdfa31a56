"""The container routes on the real Engine."""

from __future__ import annotations

from typing import Any

import docker
import pytest
from docker.errors import APIError, NotFound
from flatrun_e2e.panel import PanelProcess
from flatrun_e2e.sites import WEB, compose_of, containers, create
from flatrun_e2e.streams import until


def entry(panel: PanelProcess, name: str, query: str = "") -> dict[str, Any] | None:
    """Return a container of the list, by its name."""
    found = panel.get(f"/api/containers?{query}").json()["containers"]
    return next((one for one in found if one["name"] == name), None)


def test_a_container_of_a_deployment_lives_through_the_routes(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str, free_port: int
) -> None:
    panel = module_panel
    web = {**WEB, "ports": [f"127.0.0.1:{free_port}:80"]}
    create(panel, unique_name, compose_of(busybox_image, web=web), auto_start=True)
    (real,) = containers(engine, unique_name)
    name = real["Names"][0].lstrip("/")
    one = entry(panel, name)
    assert one is not None
    assert one["id"] == real["Id"][:12]
    assert one["image"] == busybox_image
    assert one["ports"] == [f"127.0.0.1:{free_port}->80/tcp"]
    assert (one["deployment"], one["service"], one["state"]) == (unique_name, "web", "running")
    assert one["status"].startswith("Up ")

    refused = panel.delete(f"/api/containers/{name}")
    assert (refused.status_code, refused.json()["code"]) == (409, "CONTAINER_RUNNING")
    for ref in (name, real["Id"], real["Id"][:12]):
        assert panel.post(f"/api/containers/{ref}/stop").json() == {"message": "Container stopped", "id": ref}
    stopped = entry(panel, name)
    assert stopped is not None
    assert stopped["state"] == "exited"
    assert entry(panel, name, "all=false") is None
    assert panel.post(f"/api/containers/{name}/start").json()["message"] == "Container started"
    assert panel.post(f"/api/containers/{name}/start").status_code == 200
    before = engine.inspect_container(real["Id"])["State"]["StartedAt"]
    assert panel.post(f"/api/containers/{name}/restart").json()["message"] == "Container restarted"
    assert engine.inspect_container(real["Id"])["State"]["StartedAt"] != before

    engine.pause(real["Id"])
    assert panel.delete(f"/api/containers/{name}").json()["code"] == "CONTAINER_RUNNING"
    engine.unpause(real["Id"])
    panel.post(f"/api/containers/{name}/stop")
    assert panel.delete(f"/api/containers/{name}").json() == {"message": "Container removed", "id": name}
    with pytest.raises(NotFound):
        engine.inspect_container(real["Id"])
    assert panel.delete(f"/api/containers/{name}").json()["code"] == "CONTAINER_NOT_FOUND"


def test_what_happens_without_the_panel_shows_at_once(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    made = engine.create_container(
        busybox_image,
        ["sh", "-c", "echo hello; sleep 600"],
        name=unique_name,
        host_config=engine.create_host_config(network_mode="none", init=True),
    )
    try:
        until(lambda: entry(module_panel, unique_name), 1.5)
        one = entry(module_panel, unique_name)
        assert one is not None
        assert (one["state"], one["deployment"], one["service"]) == ("created", None, None)
        engine.start(made["Id"])
        until(lambda: (entry(module_panel, unique_name) or {}).get("state") == "running", 1.5)
        until(lambda: module_panel.get(f"/api/containers/{unique_name}/logs").json()["logs"] == "hello\n")
    finally:
        engine.remove_container(made["Id"], force=True)
    until(lambda: entry(module_panel, unique_name) is None, 1.5)


def test_a_refusal_of_the_engine_is_told(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    made = engine.create_container(busybox_image, ["/no/such/program"], name=unique_name)
    try:
        answer = module_panel.post(f"/api/containers/{unique_name}/start")
        assert (answer.status_code, answer.json()["code"]) == (500, "DOCKER_ERROR")
        assert "no such file" in answer.json()["error"].lower()
    finally:
        try:
            engine.remove_container(made["Id"], force=True)
        except APIError:
            pytest.fail("the container is still there")
