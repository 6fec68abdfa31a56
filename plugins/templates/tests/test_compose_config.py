"""Every built-in template, read by Docker Compose itself; no image is needed for that."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flatrun_templates.sources import built_in

pytestmark = pytest.mark.e2e


def config(folder: Path, rendered: Any, name: str) -> dict[str, Any]:
    """What Compose makes of a rendered template, as the panel would run it."""
    for path, text in {**rendered.files, "docker-compose.yml": rendered.compose}.items():
        target = folder / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    (folder / ".env.flatrun").write_text("".join(f"{key}={value}\n" for key, value in rendered.env.items()))
    argv = ["docker", "compose", "-p", name, "-f", "docker-compose.yml", "--env-file", ".env.flatrun"]
    env = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_HOST") if key in os.environ}
    run = subprocess.run(
        [*argv, "config", "--format", "json"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == "", "Compose warns"
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("values", [{}, {"PORT": 8080, "DOMAIN": "site.example"}], ids=["alone", "published"])
@pytest.mark.parametrize("template_id", sorted(built_in()))
def test_compose_takes_it(bench: Any, tmp_path: Path, template_id: str, values: dict[str, Any]) -> None:
    rendered = bench.render(template_id, **values)
    found = config(tmp_path / "site", rendered, "blog")
    assert found["name"] == "blog"
    assert all(service["healthcheck"]["test"] for service in found["services"].values())


@pytest.mark.parametrize("name", ["123", "1e5", "true", "null", "2024-01-01", "0x1f", "no"])
def test_compose_takes_a_name_that_looks_like_something_else(bench: Any, tmp_path: Path, name: str) -> None:
    assert config(tmp_path / "site", bench.render("static", NAME=name), name)["name"] == name


@pytest.mark.parametrize("network", ["edge", "123", "no"])
def test_compose_takes_configured_networks(networked: Any, tmp_path: Path, network: str) -> None:
    bench = networked(network, f"{network}-sql")
    found = config(tmp_path / "site", bench.render("infra-nginx"), "blog")
    assert found["networks"][network] == {"name": network, "ipam": {}, "external": True}
    assert network in found["services"]["nginx"]["networks"]
    found = config(tmp_path / "other", bench.render("infra-redis"), "blog")
    assert found["networks"]["database"]["name"] == f"{network}-sql"
