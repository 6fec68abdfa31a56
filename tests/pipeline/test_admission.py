"""Who is let in, in which order that is asked, and what a refusal says."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flatrun_core import (
    Level,
)
from flatrun_core.testing.client import ADMIN_KEY


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "Authorization header required"),
        ({"Authorization": "Bearer"}, "Invalid authorization header format"),
        ({"Authorization": "Basic YTpi"}, "Unsupported authorization scheme"),
        ({"Authorization": "Bearer nope"}, "Invalid or expired token"),
        ({"Authorization": "ApiKey nope"}, "Invalid API key"),
        ({"X-API-Key": "nope"}, "Invalid API key"),
    ],
)
def test_without_a_good_credential_every_route_is_401(app: Flask, headers: dict[str, str], text: str) -> None:
    answer = app.test_client().get("/api/things/one", headers=headers)
    assert answer.status_code == 401
    assert answer.get_json()["error"] == text


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {ADMIN_KEY}"},
        {"Authorization": f"ApiKey {ADMIN_KEY}"},
        {"X-API-Key": ADMIN_KEY},
    ],
)
def test_a_static_key_authenticates_by_each_scheme(app: Flask, headers: dict[str, str]) -> None:
    answer = app.test_client().get("/api/things/mine", headers=headers)
    assert answer.get_json() == {"actor": "api_key", "id": "key_0"}


def test_an_unknown_route_is_404_before_authentication(app: Flask) -> None:
    assert app.test_client().get("/api/none").status_code == 404
    assert app.test_client().patch("/api/things/one").status_code == 405


@pytest.mark.parametrize(
    "path",
    ["/api/things%2Fone", "/api/things/a%2fb", "/api%2Fthings/one", "//api/things/one", "/api/things//one"],
)
def test_a_doubled_or_encoded_slash_is_an_unknown_route(
    app: Flask, things: Any, path: str, auth: Any
) -> None:
    # As waitress hands it over: decoded, and slashes at the beginning merged.
    decoded = "/" + path.replace("%2F", "/").replace("%2f", "/").lstrip("/")
    environ = {"REQUEST_URI": path, "RAW_URI": path, "PATH_INFO": decoded}
    for send in (app.test_client().get, app.test_client().post):
        answer = send(decoded, headers=auth(), environ_overrides=environ)
        assert answer.status_code == 404
        assert answer.get_json()["code"] == "NOT_FOUND"
    assert not things.ran
    assert things.journal.begun == []
    assert things.journal.written == []


def test_slashes_in_the_query_and_in_the_absolute_form_of_a_request_are_no_matter(
    app: Flask, auth: Any
) -> None:
    for uri in ("/api/things/one?next=//a%2Fb", "http://panel:1/api/things/one"):
        answer = app.test_client().get(
            "/api/things/one", headers=auth(), environ_overrides={"REQUEST_URI": uri}
        )
        assert answer.status_code == 200


def test_permission_is_checked_before_scope_and_scope_before_the_body(app: Flask, flatrun_login: Any) -> None:
    nothing = flatrun_login(app, [])
    scoped = flatrun_login(app, ["things:write"], {"other": Level.ADMIN})
    reader = flatrun_login(app, ["things:write"], {"one": Level.READ})
    writer = flatrun_login(app, ["things:write"], {"one": Level.WRITE})
    assert nothing.post("/api/things/one", json={}).get_json() == {
        "error": "Permission denied: things:write required",
        "code": "PERMISSION_DENIED",
    }
    for client in (scoped, reader):
        answer = client.post("/api/things/one", json={})
        assert (answer.status_code, answer.get_json()["code"]) == (403, "DEPLOYMENT_FORBIDDEN")
    assert writer.post("/api/things/one", json={}).status_code == 400
    assert writer.post("/api/things/one", json={"name": "x"}).status_code == 200


def test_any_of_several_permissions_is_enough(app: Flask, flatrun_login: Any) -> None:
    assert flatrun_login(app, ["things:x"]).delete("/api/things/one").status_code == 200
    assert flatrun_login(app, ["things:read"]).delete("/api/things/one").status_code == 403


def test_a_plugin_may_refuse_what_the_core_allows(app: Flask, things: Any, auth: Any) -> None:
    things.night = True
    answer = app.test_client().post("/api/things/one", json={"name": "x"}, headers=auth())
    assert (answer.status_code, answer.get_json()["code"]) == (403, "NIGHT")
    assert things.ran == []


def test_a_plugin_is_asked_with_the_method_and_the_deployment(app: Flask, things: Any, auth: Any) -> None:
    client = app.test_client()
    client.delete("/api/things/one", headers=auth())
    client.post("/api/things/one", json={"name": "x"}, headers=auth())
    client.get("/api/things/mine", headers=auth())
    client.get("/api/things/open", headers=auth())
    client.delete("/api/things/one")
    assert things.asked == [
        ("DELETE", "things.delete", None),
        ("POST", "things.write", "one"),
        ("GET", "things.mine", None),
    ]


def test_internal_routes_take_only_the_proxy_token_and_never_a_forwarded_request(
    app: Flask, auth: Any
) -> None:
    client = app.test_client()
    token = {"X-Internal-Token": "fake-proxy-token"}
    assert client.get("/api/things/inside", headers=token).status_code == 200
    assert client.get("/api/things/inside", headers=auth()).status_code == 401
    assert client.get("/api/things/inside", headers={"X-Internal-Token": "x"}).status_code == 401
    assert (
        client.get("/api/things/inside", headers={**token, "X-Forwarded-For": "1.1.1.1"}).status_code == 401
    )
    assert "/api/things/inside" not in client.get("/api/openapi.json").get_json()["paths"]


def test_without_authentication_everybody_is_the_anonymous_administrator(
    things: Any, flatrun_app: Callable[..., Flask]
) -> None:
    app = flatrun_app(plugins=[things], settings={"auth.enabled": False})
    assert app.test_client().get("/api/things/mine").get_json()["actor"] == "anonymous"


def test_docs_need_an_identity_when_they_are_not_public(
    things: Any, flatrun_app: Callable[..., Flask], auth: Any
) -> None:
    app = flatrun_app(plugins=[things], settings={"api.public_docs": False})
    assert app.test_client().get("/api/openapi.json").status_code == 401
    assert app.test_client().get("/api/openapi.json", headers=auth()).status_code == 200
