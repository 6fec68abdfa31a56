"""The journey of README.md, command by command, on a real panel: it prints what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from flatrun_e2e.edge import Edge

README = Path(__file__).resolve().parents[2] / "README.md"
STEP = re.compile(
    r"<!-- journey -->\n```sh\n(?P<commands>.*?)```\n(?:\n```(?:json|text)\n(?P<output>.*?)```\n)?", re.DOTALL
)
MARK = "=== the next step ==="
PASSWORD = "the administrator's own pass phrase"
COMPOSE = """
services:
  web:
    image: {image}
    init: true
    command: [sh, -c, "echo Hello from Flatrun > /www/index.html; exec httpd -f -p 80 -h /www"]
    expose: ["80"]
"""


@dataclass(frozen=True)
class Step:
    """Commands, and what the page says that they print; None where it says nothing of it."""

    commands: str
    output: str | None


def steps(site: str) -> list[Step]:
    """Return the steps of the page; its first line gives way to the environment."""
    found = [Step(match["commands"], match["output"]) for match in STEP.finditer(README.read_text())]
    assert len(found) == README.read_text().count("<!-- journey -->")
    first, rest = found[0].commands.split("\n", 1)
    assert first.startswith("export FLATRUN_URL=")
    named = [Step(rest, found[0].output), *found[1:]]
    return [Step(one.commands, one.output and one.output.replace('"hello"', f'"{site}"')) for one in named]


@pytest.fixture
def edge(start_edge: Callable[..., Edge], busybox_image: str, unique_name: str) -> Edge:
    """Return a panel with a proxy, and a site that runs."""
    edge = start_edge(env={"FLATRUN_ADMIN_PASSWORD": PASSWORD})
    panel = edge.panel
    site = {"name": unique_name, "compose": COMPOSE.format(image=busybox_image), "auto_start": True}
    made = panel.post("/api/deployments", json=site)
    assert made.status_code == 201, made.text
    edge.add(unique_name, f"{unique_name}.localhost", port=80)
    edge.wait(f"{unique_name}.localhost", 200)
    return edge


def test_every_command_prints_what_the_page_says(edge: Edge, unique_name: str, tmp_path: Path) -> None:
    journey = steps(unique_name)
    script = f"\necho '{MARK}'\n".join(step.commands for step in journey)
    done = subprocess.run(
        ["bash", "-uo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "FLATRUN_URL": edge.panel.url,
            "FLATRUN_ADMIN_PASSWORD": PASSWORD,
            "FLATRUN_CONFIG": str(edge.panel.config),
            "FLATRUN_HTTP_PORT": str(edge.ports.http),
            "SITE": unique_name,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = done.stdout.split(f"{MARK}\n")
    assert len(said) == len(journey), done.stdout + done.stderr
    for step, text in zip(journey, said, strict=True):
        assert text == (step.output or ""), f"{step.commands}\n{done.stderr}"
    assert done.stderr == ""
