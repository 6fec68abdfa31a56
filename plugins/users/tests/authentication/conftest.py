"""What the tests of logins share."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flatrun_core.db import now
from flatrun_core.testing.client import ApiClient
from flatrun_users.models import ApiKey, LoginAttempt, LoginSession

PASSWORD = "correct horse battery"


class Door:
    """Logs in to a panel: ``door("anna")``, ``door("anna", "wrong", ip="192.0.2.1")``."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def __call__(
        self, username: str = "anna", password: str = PASSWORD, *, ip: str = "127.0.0.1", **more: Any
    ) -> TestResponse:
        return self.send({"username": username, "password": password, **more}, ip=ip)

    def send(
        self, body: Any, *, ip: str = "127.0.0.1", headers: Mapping[str, str] | None = None
    ) -> TestResponse:
        """Send any body."""
        return self.app.test_client().post(
            "/api/auth/login", json=body, environ_base={"REMOTE_ADDR": ip}, headers=dict(headers or {})
        )

    def client(self, username: str = "anna", password: str = PASSWORD, **more: Any) -> ApiClient:
        """A client with the token of a login."""
        answer = self(username, password, **more)
        assert answer.status_code == 200, answer.get_json()
        return ApiClient(self.app, answer.get_json()["token"])

    def outcomes(self, *args: Any, **kwargs: Any) -> str:
        """The code of a login's answer, or OK."""
        return str(self(*args, **kwargs).get_json().get("code", "OK"))


@pytest.fixture
def house(make_house: Callable[..., Any]) -> Any:
    """A panel with accounts and nothing else."""
    return make_house(deployments=False)


@pytest.fixture
def anna(house: Any) -> int:
    """The account of an operator."""
    return int(house.user("anna", "operator"))


@pytest.fixture
def door(house: Any, anna: int) -> Door:
    """The login of a panel where Anna has an account."""
    return Door(house.app)


@pytest.fixture
def door_of() -> type[Door]:
    """The login of another panel."""
    return Door


@pytest.fixture
def only_key(house: Any) -> Callable[[], Any]:
    """The one key that there is, as it is stored."""

    def find() -> Any:
        with house.panel.database.session():
            (row,) = ApiKey.select()
        return row

    return find


@pytest.fixture
def later(house: Any) -> Callable[[timedelta], None]:
    """Let time go by: every login attempt and every session becomes older by so much."""

    def go(by: timedelta) -> None:
        with house.panel.database.atomic():
            for row in LoginAttempt.select():
                LoginAttempt.update(at=row.at - by).where(LoginAttempt.id == row.id).execute()
            for row in LoginSession.select():
                LoginSession.update(
                    expires_at=row.expires_at - by,
                    created_at=row.created_at - by,
                    last_seen_at=row.last_seen_at - by,
                ).where(LoginSession.id == row.id).execute()

    return go


@pytest.fixture
def at_once() -> Callable[[Sequence[Callable[[], Any]]], list[Any]]:
    """Run calls in as many threads, and answer what each returned."""

    def run(calls: Sequence[Callable[[], Any]]) -> list[Any]:
        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result() for future in [pool.submit(call) for call in calls]]

    return run


class Clock:
    """The time that codes of an authenticator are made for; it stands still."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def time(self) -> float:
        return self.moment


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for the second factor, set by the tests."""
    clock = Clock(now().timestamp())
    monkeypatch.setattr("flatrun_users.totp.time", clock)
    return clock


class Authenticator:
    """What people carry in their pockets: codes of a secret for the clock's time."""

    def __init__(self, clock: Clock, secret: str) -> None:
        self.clock = clock
        self._totp = pyotp.TOTP(secret)

    def code(self, steps: int = 0) -> str:
        """The code of now, or of so many steps later."""
        return self._totp.at(self.clock.moment + 30 * steps)

    def wrong(self) -> str:
        """A code that counts at no time near."""
        near = {self.code(steps) for steps in range(-3, 4)}
        return next(code for code in (f"{n:06d}" for n in range(10)) if code not in near)


@pytest.fixture
def enrol(clock: Clock) -> Callable[[ApiClient], tuple[Authenticator, list[str]]]:
    """Set up a client's second factor: the authenticator, and the recovery codes."""

    def run(client: ApiClient) -> tuple[Authenticator, list[str]]:
        secret = client.post("/api/users/me/totp").get_json()["secret"]
        authenticator = Authenticator(clock, secret)
        answer = client.post("/api/users/me/totp/confirm", json={"code": authenticator.code()})
        assert answer.status_code == 200, answer.get_json()
        clock.moment += 30
        return authenticator, answer.get_json()["recovery_codes"]

    return run


@pytest.fixture
def authenticator_of(clock: Clock) -> Callable[[str], Authenticator]:
    """An authenticator for a secret."""
    return lambda secret: Authenticator(clock, secret)
