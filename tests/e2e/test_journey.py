"""`scripts/journey` goes its whole way, says what it saw, and leaves nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import docker

PROGRAM = Path(__file__).resolve().parent / "journey.py"
STEP = re.compile(r"^ ?\d+ +\d+\.\d\d s  (.+)$", re.MULTILINE)
STEPS = [
    "The certificate authority is up (pebble)",
    "The panel is up",
    "A deployment is created and runs",
    "It has a first domain with an alias; nginx is up and serves it",
    "It has a path for another service, and a second domain",
    "Each host and path is answered by its service over HTTP",
    "Certificates are asked for and had, proved over HTTP",
    "HTTPS is served, with chains that end in the authority's root",
    "A renewal of blog.example.test is forced",
    "The new certificate is served",
    "elsewhere.example.test points to another machine: no certificate, and why",
    "shop.example.test is removed, and gone",
    "Everything is taken down, and nothing is left",
]


def test_every_step_is_gone_and_timed(
    engine: docker.APIClient, nginx_image: str, application_image: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert STEP.findall(done.stdout) == STEPS
    assert "blog.example.test, www.blog.example.test, by CN=Pebble" in done.stdout
    before, now = re.findall(r"serial (\w+) (?:before|now)", done.stdout)
    assert before != now
    assert "elsewhere.example.test points to 127.0.0.9" in done.stdout
    assert re.search(r"\d+\.\d\d s  everything$", done.stdout.strip())
    left = [item["Names"][0] for item in engine.containers(all=True) if "journey-" in item["Names"][0]]
    left += [item["Name"] for item in engine.networks() if "journey-" in item["Name"]]
    assert left == []
