"""Logins with the panel's state on PostgreSQL, by two panels that share it."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pyotp
import pytest
from flatrun_e2e.panel import PanelProcess
from flatrun_e2e.postgres import Cluster

PASSWORD = "a password from outside"
SIGNED_BY = "the key that both panels sign with"
ENCRYPTED_BY = "the key that both panels encrypt with"

Pair = tuple[PanelProcess, PanelProcess]


@pytest.fixture
def url(server: Cluster) -> str:
    return server.create()


@pytest.fixture
def panels(url: str, start_panel: Callable[..., PanelProcess]) -> Pair:
    """Two panels on one database; they are started at the same moment."""

    def start(_: int) -> PanelProcess:
        return start_panel(
            settings={"auth": {"secret_key": SIGNED_BY}},
            env={
                "FLATRUN_DATABASE": url,
                "FLATRUN_ADMIN_PASSWORD": PASSWORD,
                "FLATRUN_SECRET_KEY": ENCRYPTED_BY,
            },
        )

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(start, range(2))
    wait_until(lambda: log_in(one).status_code == 200)
    return one, other


@pytest.fixture
def rows(url: str) -> Iterator[Callable[[str], list[Any]]]:
    """Ask the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield lambda question: connection.execute(question.encode()).fetchall()


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def log_in(panel: PanelProcess, password: str = PASSWORD, **more: str) -> Any:
    return panel.post("/api/auth/login", {"username": "admin", "password": password, **more}, headers={})


def as_whoever(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_two_panels_that_start_at_once_make_one_administrator(
    panels: Pair, rows: Callable[[str], list[Any]]
) -> None:
    assert rows("SELECT username, role FROM users_user") == [("admin", "admin")]
    assert sum("first administrator was made" in panel.log for panel in panels) == 1
    assert not any(PASSWORD in panel.log for panel in panels)


def test_a_token_counts_in_both_panels_and_ends_in_both(panels: Pair) -> None:
    one, other = panels
    mine, stolen = (as_whoever(log_in(one).json()["token"]) for _ in range(2))
    assert other.get("/api/users/me", headers=mine).json()["user"]["username"] == "admin"
    for session in other.get("/api/auth/sessions", headers=mine).json()["sessions"]:
        if not session["current"]:
            other.delete(f"/api/auth/sessions/{session['id']}", headers=mine)
    assert one.get("/api/users/me", headers=stolen).status_code == 401
    assert one.post("/api/auth/logout", headers=mine).status_code == 200
    assert other.get("/api/users/me", headers=mine).json()["code"] == "INVALID_TOKEN"


def test_a_key_narrows_its_tokens_and_takes_them_along(panels: Pair) -> None:
    one, other = panels
    admin = as_whoever(log_in(one).json()["token"])
    body = {"name": "reader", "permissions": ["settings:read"], "expires_in": 3600}
    made = one.post("/api/apikeys", body, headers=admin).json()
    opened = other.post("/api/auth/login", {"api_key": made["key"]}, headers={}).json()
    assert opened["permissions"] == ["settings:read"]
    reader = as_whoever(opened["token"])
    assert other.get("/api/settings", headers=reader).status_code == 200
    assert other.get("/api/users", headers=reader).status_code == 403
    assert one.post(f"/api/apikeys/{made['id']}/revoke", headers=admin).status_code == 200
    assert other.get("/api/settings", headers=reader).status_code == 401
    assert other.get("/api/settings", headers={"X-API-Key": made["key"]}).status_code == 401


def test_wrong_guesses_at_once_at_both_panels_get_five_tries_at_most(panels: Pair) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: log_in(panels[n % 2], f"wrong-{n}").status_code, range(40)))
    found = Counter(answers)
    assert set(found) <= {401, 429}
    assert found[401] <= 5
    refused = log_in(panels[0])
    assert refused.status_code in (200, 429)  # fewer than five tries leave room for the right one
    if found[401] == 5:
        assert 0 < int(refused.headers["Retry-After"]) <= 300


def test_right_logins_at_once_all_get_in(panels: Pair, rows: Callable[[str], list[Any]]) -> None:
    before = rows("SELECT count(*) FROM users_session")[0][0]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: log_in(panels[0]).status_code, range(50)))
    assert answers == [200] * 50
    assert rows("SELECT count(*) FROM users_session") == [(before + 50,)]
    assert rows("SELECT count(*) FROM users_login_attempt") == [(0,)]


def test_a_code_of_the_second_factor_counts_once_in_both_panels(panels: Pair) -> None:
    one, other = panels
    admin = as_whoever(log_in(one).json()["token"])
    secret = one.post("/api/users/me/totp", headers=admin).json()["secret"]
    code = pyotp.TOTP(secret).now()
    confirmed = other.post("/api/users/me/totp/confirm", {"code": code}, headers=admin).json()
    recovery = confirmed["recovery_codes"]
    assert log_in(one).json()["code"] == "TOTP_REQUIRED"
    start = threading.Barrier(4)

    def with_code(n: int) -> int:
        start.wait(30)
        return int(log_in(panels[n % 2], totp_code=recovery[0]).status_code)

    with ThreadPoolExecutor(4) as pool:
        answers = Counter(pool.map(with_code, range(4)))
    assert answers[200] == 1
    assert log_in(one, totp_code=code).status_code == 401


def test_no_login_without_a_code_survives_a_second_factor_that_is_confirmed_meanwhile(
    panels: Pair, rows: Callable[[str], list[Any]]
) -> None:
    admin = as_whoever(log_in(panels[0]).json()["token"])
    secret = panels[0].post("/api/users/me/totp", headers=admin).json()["secret"]
    start = threading.Barrier(9)

    def confirm() -> Any:
        start.wait(30)
        body = {"code": pyotp.TOTP(secret).now()}
        return panels[1].post("/api/users/me/totp/confirm", body, headers=admin)

    def without_code(n: int) -> Any:
        start.wait(30)
        return log_in(panels[n % 2])

    with ThreadPoolExecutor(9) as pool:
        logins = [pool.submit(without_code, n) for n in range(8)]
        assert pool.submit(confirm).result().status_code == 200
        answers = [one.result() for one in logins]
    tokens = [answer.json()["token"] for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 401, 429}
    for token in tokens:
        assert panels[0].get("/api/users/me", headers=as_whoever(token)).status_code == 401
    assert rows("SELECT count(*) FROM users_session WHERE revoked_at IS NULL") == [(1,)]
    assert panels[1].get("/api/users/me", headers=admin).status_code == 200


def test_a_long_or_strange_name_is_a_wrong_one_and_no_fault(panels: Pair) -> None:
    for name in ("n" * 5000, "ü" * 64, "' OR 1=1 --", "İ" * 64, "\\x00", "%s"):
        body = {"username": name, "password": PASSWORD}
        assert panels[0].post("/api/auth/login", body, headers={"User-Agent": "ü" * 3}).status_code == 401
