"""On the host one can always get back in: with the panel running, and with it stopped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from flatrun_e2e.panel import PanelProcess


def flatrun(panel: PanelProcess, *words: str) -> str:
    program = Path(sys.executable).with_name("flatrun")
    command = [str(program), *words, "--config", str(panel.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def login(panel: PanelProcess, password: str) -> requests.Response:
    body = {"username": "admin", "password": password}
    return requests.post(f"{panel.url}/api/auth/login", json=body, timeout=30)


@pytest.mark.parametrize("running", [True, False])
def test_a_new_password_lets_the_administrator_in_and_everybody_else_out(
    start_panel: Callable[..., PanelProcess], running: bool
) -> None:
    panel = start_panel(env={"FLATRUN_ADMIN_PASSWORD": "the one of before"})
    before = login(panel, "the one of before").json()["token"]
    for _ in range(5):
        assert login(panel, "a guess").status_code == 401
    assert login(panel, "the one of before").status_code == 429
    if not running:
        panel.terminate()
    password = flatrun(panel, "users", "reset-password", "admin", "--generate").split()[-1]
    flatrun(panel, "users", "unlock", "admin")
    assert "admin" in flatrun(panel, "users", "list")
    if not running:
        panel.start()
    assert login(panel, "the one of before").status_code == 401
    assert login(panel, password).status_code == 200
    with_token = {"Authorization": f"Bearer {before}"}
    assert requests.get(f"{panel.url}/api/users/me", headers=with_token, timeout=30).status_code == 401
    events = panel.get("/api/audit/events", params={"actor_type": "system"}).json()["events"]
    assert {"users.reset_password", "users.unlock"} <= {event["action"] for event in events}
    assert "whole" in flatrun(panel, "audit", "verify")
