"""Fifty people at the same moment, on a real panel: nobody's login, key or record is lost, nor by a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from flatrun_e2e.panel import PanelProcess

PEOPLE = 50
PASSWORD = "a long pass phrase"


@pytest.fixture
def panel(start_panel: Callable[..., PanelProcess]) -> PanelProcess:
    """Return a panel with fifty operators."""
    panel = start_panel()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: join(panel, number), range(PEOPLE)))
    assert Counter(made) == {201: PEOPLE}
    return panel


def join(panel: PanelProcess, number: int) -> int:
    account = {"username": f"person-{number}", "password": PASSWORD, "role": "operator"}
    return panel.post("/api/users", json=account).status_code


def ask(panel: PanelProcess, method: str, path: str, body: Any, token: str = "") -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.request(method, f"{panel.url}/api/{path}", json=body, headers=headers, timeout=60)


def visit(panel: PanelProcess, number: int) -> list[requests.Response]:
    """Log in, make a key, and change the own account with it refused; the answers as far as they came."""
    answers: list[requests.Response] = []
    try:
        login = {"username": f"person-{number}", "password": PASSWORD}
        answers.append(ask(panel, "POST", "auth/login", login))
        token = answers[0].json()["token"]
        answers.append(ask(panel, "POST", "apikeys", {"name": f"key-{number}"}, token))
        answers.append(ask(panel, "PUT", "users/me", {"email": f"p{number}@example.com"}, token))
    except requests.RequestException:
        return answers
    return answers


def events(panel: PanelProcess, **filters: str) -> list[dict[str, Any]]:
    found = panel.get("/api/audit/events", params={"limit": "1000", **filters}).json()["events"]
    assert isinstance(found, list)
    return found


def verify(panel: PanelProcess) -> dict[str, Any]:
    program = Path(sys.executable).with_name("flatrun")
    command = [str(program), "audit", "verify", "--json", "--config", str(panel.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_fifty_logins_keys_and_records_at_once_lose_nothing(panel: PanelProcess) -> None:
    with ThreadPoolExecutor(PEOPLE) as pool:
        visits = list(pool.map(lambda number: visit(panel, number), range(PEOPLE)))
    statuses = Counter(tuple(answer.status_code for answer in answers) for answers in visits)
    assert statuses == {(200, 201, 200): PEOPLE}
    assert len({answers[0].json()["token"] for answers in visits}) == PEOPLE
    keys = panel.get("/api/apikeys").json()["api_keys"]
    assert sorted(key["name"] for key in keys) == sorted(f"key-{number}" for number in range(PEOPLE))
    assert {
        ask(panel, "GET", "users/me", None, answers[1].json()["key"]).status_code for answers in visits
    } == {200}
    for action in ("auth.login", "apikeys.create", "users.update_self"):
        written = events(panel, action=action, success="true")
        assert len({event["actor_name"] for event in written}) == len(written) == PEOPLE, action
    answered = {answer.headers["X-Request-ID"] for answers in visits for answer in answers}
    assert answered <= {event["request_id"] for event in events(panel)}
    assert verify(panel)["whole"]


def test_a_kill_among_fifty_loses_nothing_that_was_answered(panel: PanelProcess) -> None:
    with ThreadPoolExecutor(PEOPLE) as pool:
        waiting = [pool.submit(visit, panel, number) for number in range(PEOPLE)]
        for one in waiting[:5]:
            one.result()
        panel.kill9()
        visits = [one.result() for one in waiting]
    panel.start()
    answers = [answer for answers in visits for answer in answers if answer.ok]
    assert len(answers) >= 5
    recorded = {event["request_id"]: event for event in events(panel)}
    assert {answer.headers["X-Request-ID"] for answer in answers} <= set(recorded)
    for made in (answers[1] for answers in visits if len(answers) > 1 and answers[1].status_code == 201):
        assert ask(panel, "GET", "users/me", None, made.json()["key"]).status_code == 200
    for opened in (answers[0] for answers in visits if answers and answers[0].ok):
        assert ask(panel, "GET", "users/me", None, opened.json()["token"]).status_code == 200
    assert verify(panel)["whole"]
