"""Beside the panel's own accounts: both ways in go on working, and the night is kept for all."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flatrun_core.testing.client import ADMIN_KEY

Make = Callable[..., Flask]
Ask = Callable[..., TestResponse]
SetClock = Callable[[Flask, str], None]
STRANGER = "203.0.113.9"
KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}
COMPOSE = "services:\n  web:\n    image: busybox\n"
AT_NIGHT, BY_DAY = "2026-01-15T23:30:00+00:00", "2026-01-15T12:00:00+00:00"


def done(answer: TestResponse, status: int = 200) -> Any:
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_json()


def refusal(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


@pytest.fixture
def app(behind_proxy: Make, ask: Ask, set_clock: SetClock) -> Flask:
    """A panel with a deployment, and an account `kim` that may remove it."""
    app = behind_proxy("deployments", "users", night_from="22:00", night_until="06:00")
    set_clock(app, BY_DAY)
    done(post(ask, app, "/api/deployments", KEY, {"name": "blog", "compose": COMPOSE}), 201)
    account = {
        "username": "kim",
        "password": "correct horse",
        "role": "operator",
        "permissions": ["deployments:read", "deployments:delete"],
    }
    kim = done(post(ask, app, "/api/users", KEY, account), 201)["user"]
    access = {"deployment_name": "blog", "access_level": "admin"}
    done(post(ask, app, f"/api/users/{kim['id']}/deployments", KEY, access), 201)
    return app


def post(ask: Ask, app: Flask, path: str, headers: dict[str, str], body: dict[str, Any]) -> TestResponse:
    return ask(app, path, method="POST", peer=STRANGER, headers=headers, json=body)


@pytest.fixture
def token(app: Flask, ask: Ask) -> dict[str, str]:
    """The header with kim's token."""
    body = {"username": "kim", "password": "correct horse"}
    return {"Authorization": f"Bearer {done(post(ask, app, '/api/auth/login', {}, body))['token']}"}


@pytest.mark.parametrize("peer", ["10.0.0.1", STRANGER])
def test_a_token_of_an_account_works_through_the_proxy_and_past_it(
    app: Flask, ask: Ask, token: dict[str, str], peer: str
) -> None:
    me = done(ask(app, "/api/users/me", peer=peer, headers=token))
    assert (me["user"]["username"], me["permissions"]) == ("kim", ["deployments:delete", "deployments:read"])
    with_header = ask(app, "/api/users/me", peer=peer, headers=token, user="root", groups="admins")
    assert done(with_header) == me


def test_whom_the_proxy_names_has_no_account_and_their_rights_all_the_same(app: Flask, ask: Ask) -> None:
    me = done(ask(app, "/api/users/me", user="ada", groups="makers"))
    assert (me["user"], "deployments:write" in me["permissions"]) == (None, True)
    assert (
        done(ask(app, "/api/deployments/blog", user="ada", groups="makers"))["deployment"]["name"] == "blog"
    )
    assert refusal(ask(app, "/api/users", user="ada", groups="makers")) == (403, "PERMISSION_DENIED")


def test_an_account_and_a_name_of_the_proxy_are_two_people(app: Flask, ask: Ask) -> None:
    assert done(ask(app, "/api/users/me", user="kim", groups="guests"))["user"] is None
    assert refusal(ask(app, "/api/deployments/blog", user="kim", groups="guests", method="DELETE")) == (
        403,
        "PERMISSION_DENIED",
    )


def test_an_admin_of_the_proxy_may_manage_accounts(app: Flask, ask: Ask) -> None:
    root = {"user": "root", "groups": "admins"}
    assert "kim" in [one["username"] for one in done(ask(app, "/api/users", **root))["users"]]
    new = {"username": "lee", "password": "correct horse", "role": "viewer"}
    assert done(ask(app, "/api/users", method="POST", json=new, **root), 201)["user"]["role"] == "viewer"


def test_the_status_tells_whether_the_proxy_let_one_in(app: Flask, ask: Ask) -> None:
    for peer, expected in (("10.0.0.1", True), (STRANGER, False)):
        answer = done(ask(app, "/api/auth/status", user="ada", groups="makers", peer=peer))
        assert answer == {"enabled": True, "authenticated": expected}


def test_the_night_is_kept_for_accounts_too(
    app: Flask, ask: Ask, token: dict[str, str], set_clock: SetClock
) -> None:
    set_clock(app, AT_NIGHT)
    assert refusal(ask(app, "/api/deployments/blog", method="DELETE", headers=token)) == (403, "NIGHT_REST")
    assert done(ask(app, "/api/deployments/blog", headers=token))["deployment"]["name"] == "blog"
    set_clock(app, BY_DAY)
    assert done(ask(app, "/api/deployments/blog", method="DELETE", headers=token))
    assert done(ask(app, "/api/deployments", headers=KEY)) == []


def test_the_night_is_kept_for_api_keys_and_for_what_deletes_by_another_method(
    app: Flask, ask: Ask, set_clock: SetClock
) -> None:
    owner = {"username": "boss", "password": "correct horse", "role": "admin"}
    done(post(ask, app, "/api/users", KEY, owner), 201)
    made = done(post(ask, app, "/api/apikeys", KEY, {"name": "ci"}), 201)
    key = {"X-API-Key": made["key"]}
    set_clock(app, AT_NIGHT)
    assert refusal(ask(app, "/api/deployments/blog", method="DELETE", headers=key)) == (403, "NIGHT_REST")
    revoke = f"/api/apikeys/{made['id']}/revoke"
    assert refusal(ask(app, revoke, method="POST", headers=KEY)) == (403, "NIGHT_REST")
    set_clock(app, BY_DAY)
    done(ask(app, revoke, method="POST", headers=KEY))
    assert ask(app, "/api/deployments/blog", headers=key).status_code == 401


def test_logging_out_is_no_deletion(app: Flask, ask: Ask, token: dict[str, str], set_clock: SetClock) -> None:
    set_clock(app, AT_NIGHT)
    done(post(ask, app, "/api/auth/logout", token, {}))
    assert ask(app, "/api/users/me", headers=token).status_code == 401
