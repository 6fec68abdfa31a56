"""The end-to-end fixtures themselves: they start what they say, and leave nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.errors import APIError
from flatrun_e2e.panel import PanelProcess
from flatrun_e2e.private_engine import PrivateEngine
from flatrun_e2e.traces import Traces

COMPOSE = """
services:
  web:
    image: {image}
    pull_policy: never
    init: true
    restart: always
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    ports: ["{port}:80"]
    volumes: ["data:/data"]
volumes:
  data: {{}}
"""


def compose(folder: Path, name: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run docker compose on the file in a folder."""
    argv = ["docker", "compose", "-p", name, "-f", str(folder / "compose.yml"), *arguments]
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, **(env or {})})


def test_the_image_serves_its_page_over_a_published_port(
    busybox_image: str, unique_name: str, free_port: int, tmp_path: Path
) -> None:
    (tmp_path / "compose.yml").write_text(COMPOSE.format(image=busybox_image, port=free_port))
    compose(tmp_path, unique_name, "up", "-d")
    session = requests.Session()
    session.trust_env = False
    assert session.get(f"http://127.0.0.1:{free_port}/", timeout=10).text == "flatrun test page\n"


def test_everything_of_a_project_is_found_and_removed(
    engine: docker.APIClient, busybox_image: str, unique_name: str, free_port: int, tmp_path: Path
) -> None:
    (tmp_path / "compose.yml").write_text(COMPOSE.format(image=busybox_image, port=free_port))
    compose(tmp_path, unique_name, "up", "-d")
    traces = Traces(engine)
    assert traces.projects_under(tmp_path) == {unique_name}
    assert {text.split()[0] for text in traces.of({unique_name})} == {"container", "network", "volume"}
    assert traces.remove({unique_name}) == []


def test_a_private_engine_keeps_its_containers_over_a_stop_and_a_kill(
    private_engine: PrivateEngine, busybox_image: str, unique_name: str, tmp_path: Path
) -> None:
    (tmp_path / "compose.yml").write_text(COMPOSE.format(image=busybox_image, port=8080))
    compose(tmp_path, unique_name, "up", "-d", env=private_engine.env)
    assert private_engine.http_get(8080) == "flatrun test page\n"
    private_engine.stop()
    assert not private_engine.running
    private_engine.start()
    assert len(private_engine.client.containers()) == 1
    private_engine.kill9()
    private_engine.start()
    assert len(private_engine.client.containers(all=True)) == 1


def test_a_private_engine_can_run_out_of_networks(
    start_private_engine: Callable[..., PrivateEngine],
) -> None:
    engine = start_private_engine(address_pools=[{"base": "10.210.0.0/25", "size": 26}])
    made: list[Any] = [engine.client.create_network(f"n{number}") for number in range(2)]
    assert len(made) == 2
    with pytest.raises(APIError, match="address pool"):
        engine.client.create_network("one-too-many")


def test_a_panel_answers_and_survives_a_restart_and_a_kill(panel: PanelProcess) -> None:
    assert panel.get("/api/deployments").json() == []
    assert panel.get("/api/deployments", headers={}).status_code == 401
    panel.restart()
    assert panel.kill9() == -9
    panel.start()
    assert panel.get("/api/health").json()["status"] == "ok"
    assert panel.terminate() == 0


def test_a_panel_can_use_a_private_engine(
    start_panel: Callable[..., PanelProcess],
    private_engine: PrivateEngine,
    busybox_image: str,
    unique_name: str,
) -> None:
    panel = start_panel(engine=private_engine)
    text = COMPOSE.format(image=busybox_image, port=8080)
    body = {"name": unique_name, "compose": text, "auto_start": True}
    answer = panel.post("/api/deployments", body)
    assert (answer.status_code, answer.json()["start_error"]) == (201, "")
    assert private_engine.http_get(8080) == "flatrun test page\n"
