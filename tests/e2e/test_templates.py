"""Deployments from templates, on the real Engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.errors import NotFound

COMPOSE = """\
# One page, and a network of the panel's.
name: ${{NAME}}

services:
  web:
    image: {image}
    pull_policy: never
    init: true
    command: ["httpd", "-f", "-p", "8000", "-h", "/pages"]
    environment:
      SITE: ${{NAME}}
      SECRET: ${{SECRET:?set SECRET}}
    volumes:
      - ./pages:/pages:ro
    networks: [default, shared]
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8000/"]
      interval: 1s
      retries: 10

networks:
  default:
  shared:
    name: ${{DATABASE_NETWORK}}
    external: true
"""

METADATA = """\
name: One page
category: basic
container_port: 8000
mounts:
  - {id: pages, container_path: /pages, type: file, subdirectories: [more]}
files:
  - path: pages/index.html
    content: "${NAME} ${GREETING} $HOME ${UNKNOWN}\\n"
env:
  - {key: SECRET, generate: "hex:40"}
  - {key: GREETING, default: hello}
"""


def write_template(root: Path, template_id: str, compose: str, metadata: str) -> Path:
    """Put a template where a person would."""
    folder = root / ".flatrun" / "templates" / template_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "docker-compose.yml").write_text(compose, encoding="utf-8")
    (folder / "metadata.yml").write_text(metadata, encoding="utf-8")
    return folder


def page(port: int, path: str = "/") -> str:
    """Fetch a page, as soon as the server listens."""
    session = requests.Session()
    session.trust_env = False
    deadline = time.monotonic() + 30
    while True:
        try:
            answer = session.get(f"http://127.0.0.1:{port}{path}", timeout=10)
            answer.raise_for_status()
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return answer.text


@pytest.fixture
def shared_network(engine: docker.APIClient, unique_name: str) -> Iterator[str]:
    """Return the name of a network that the panel is to make; it goes at the end."""
    name = f"{unique_name}-shared"
    yield name
    try:
        found = engine.inspect_network(name)
    except NotFound:
        return
    for container in found["Containers"]:
        engine.disconnect_container_from_network(container, name, force=True)
    engine.remove_network(name)


def test_a_template_written_by_hand_becomes_a_site(
    start_panel: Any,
    engine: docker.APIClient,
    busybox_image: str,
    unique_name: str,
    shared_network: str,
    free_port: int,
) -> None:
    panel = start_panel(settings={"infrastructure": {"default_database_network": shared_network}})
    write_template(panel.root, "one-page", COMPOSE.format(image=busybox_image), METADATA)
    listed = panel.get("/api/templates").json()["templates"]
    assert {"one-page", "static", "infra-redis"} <= {found["id"] for found in listed}

    body = {"name": unique_name, "template_id": "one-page", "port": free_port, "auto_start": True}
    answer = panel.post("/api/deployments", body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["start_error"] == ""
    assert page(free_port) == f"{unique_name} hello $HOME ${{UNKNOWN}}\n"

    folder = panel.root / unique_name
    assert (folder / "pages" / "more").is_dir()
    (container,) = engine.containers(filters={"label": f"com.docker.compose.project={unique_name}"})
    env = engine.inspect_container(container["Id"])["Config"]["Env"]
    secret = next(line for line in env if line.startswith("SECRET=")).removeprefix("SECRET=")
    assert len(secret) == 40
    assert f"SECRET={secret}\n" in (folder / ".env.flatrun").read_text()
    assert shared_network in engine.inspect_container(container["Id"])["NetworkSettings"]["Networks"]
    detail = panel.get(f"/api/deployments/{unique_name}").json()["deployment"]
    assert detail["metadata"]["template_id"] == "one-page"
    assert detail["metadata"]["networking"]["container_port"] == 8000


def test_an_edit_of_a_template_counts_for_the_next_deployment(
    module_panel: Any, busybox_image: str, new_name: Any
) -> None:
    panel = module_panel
    compose = "services:\n  web:\n    image: {}\n    hostname: first\n"
    folder = write_template(panel.root, "edited", compose.format(busybox_image), "name: Edited\n")
    for hostname in ("first", "second"):
        text = compose.format(busybox_image).replace("first", hostname)
        (folder / "docker-compose.yml").write_text(text, encoding="utf-8")
        name = new_name()
        answer = panel.post("/api/deployments", {"name": name, "template_id": "edited"})
        assert answer.status_code == 201, answer.text
        assert (panel.root / name / "docker-compose.yml").read_text() == text


def test_every_built_in_template_makes_a_deployment(module_panel: Any, new_name: Any) -> None:
    """Nothing is started, because no image is here; Compose has read each of them."""
    panel = module_panel
    for found in panel.get("/api/templates").json()["templates"]:
        if found["id"] in ("edited", "wants-domain"):
            continue
        name = new_name()
        answer = panel.post("/api/deployments", {"name": name, "template_id": found["id"]})
        assert answer.status_code == 201, (found["id"], answer.text)
        detail = panel.get(f"/api/deployments/{name}").json()["deployment"]
        assert detail["metadata"]["networking"]["container_port"] == found["container_port"]
        for file in found["files"]:
            assert (panel.root / name / file["path"]).is_file()


def test_a_template_that_wants_a_domain_is_refused_without_one(
    module_panel: Any, busybox_image: str, new_name: Any
) -> None:
    panel, name = module_panel, new_name()
    compose = f"services:\n  web:\n    image: {busybox_image}\n    hostname: ${{DOMAIN}}\n"
    write_template(panel.root, "wants-domain", compose, "")
    body: dict[str, Any] = {"name": name, "template_id": "wants-domain"}
    refused = panel.post("/api/deployments", body)
    assert refused.status_code == 400
    assert "DOMAIN" in refused.json()["error"]
    assert not (panel.root / name).exists()
    body["metadata"] = {"networking": {"domain": "site.example"}}
    assert panel.post("/api/deployments", body).status_code == 201
    assert "hostname: site.example\n" in (panel.root / name / "docker-compose.yml").read_text()
