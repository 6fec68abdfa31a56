"""Deployments for end-to-end tests: compose files on the local image, and ways to look at them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import docker
import requests

from flatrun_e2e.panel import PanelProcess

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"


def compose_of(image: str, **services: dict[str, Any]) -> str:
    """Write a compose file whose services all use the local image unless they say otherwise."""
    base: dict[str, Any] = {"pull_policy": "never", "init": True, "command": ["sleep", "600"]}
    full = {}
    for name, spec in services.items():
        full[name] = {**({} if "build" in spec else {"image": image}), **base, **spec}
        if "build" in spec:
            del full[name]["pull_policy"]
    volumes = {
        v.split(":")[0]: {} for s in services.values() for v in s.get("volumes", ()) if v[0] not in "./"
    }
    return json.dumps({"services": full, **({"volumes": volumes} if volumes else {})}, indent=1)


WEB = {"command": ["httpd", "-f", "-p", "80", "-h", "/www"], "expose": ["80"]}


def create(panel: PanelProcess, name: str, compose: str, **more: Any) -> dict[str, Any]:
    """Create a deployment, which must succeed, its start included."""
    answer = panel.post("/api/deployments", {"name": name, "compose": compose, **more})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    assert body["start_error"] == "", body
    return body


def item(panel: PanelProcess, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in panel.get("/api/deployments").json() if each["name"] == name
    )
    return found


def eventually(look: Callable[[], Any], wanted: Any, seconds: float = 20) -> None:
    """Look until it is so."""
    until = time.monotonic() + seconds
    while (seen := look()) != wanted:
        assert time.monotonic() < until, f"{seen!r} instead of {wanted!r}"
        time.sleep(0.1)


def containers(engine: docker.APIClient, project: str, service: str = "") -> list[dict[str, Any]]:
    """Return a project's containers as Docker lists them."""
    labels = [f"{PROJECT}={project}", *([f"{SERVICE}={service}"] if service else [])]
    found: list[dict[str, Any]] = engine.containers(all=True, filters={"label": labels})
    return found


def page(port: int, seconds: float = 10) -> str:
    """Fetch the page on a port of this host, as soon as it is served."""
    session = requests.Session()
    session.trust_env = False
    until = time.monotonic() + seconds
    while True:
        try:
            return session.get(f"http://127.0.0.1:{port}/", timeout=5).text
        except requests.ConnectionError:
            assert time.monotonic() < until, f"nothing answers on port {port}"
            time.sleep(0.05)
