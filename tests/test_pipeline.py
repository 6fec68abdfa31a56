"""Admission of requests: who may do what, in which order, and what every failure looks like."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
import pytest
from flask import Flask
from flask.views import MethodView

from flatrun_core import (
    Blueprint,
    Conflict,
    Forbidden,
    InputSchema,
    Level,
    PluginInfo,
    access,
    authenticated,
    hookimpl,
    identity,
    internal,
    public,
)
from flatrun_core.api.client_address import client_address, parse_networks
from flatrun_core.fields import Boolean, Integer, String
from flatrun_core.ports.auth import (
    Access,
    Identity,
    Permission,
    RecordedEvent,
    RecordedOutcome,
    RecordedRequest,
)
from flatrun_core.testing.client import ADMIN_KEY
from flatrun_core.testing.fakes import FakeProxy


class Body(InputSchema):
    name = String(required=True)
    count = Integer()
    on = Boolean()


class Optional(InputSchema):
    name = String()


class Journal:
    """A recorder that keeps everything, or refuses."""

    name = "journal"

    def __init__(self) -> None:
        self.begun: list[RecordedRequest] = []
        self.written: list[tuple[Any, RecordedRequest, RecordedOutcome]] = []
        self.noted: list[RecordedEvent] = []
        self.refuse: Exception | None = None
        self.fail: Exception | None = None

    def begin(self, request: RecordedRequest) -> str:
        if self.refuse:
            raise self.refuse
        self.begun.append(request)
        return "token"

    def finish(self, token: Any, request: RecordedRequest, outcome: RecordedOutcome) -> None:
        if self.fail:
            raise self.fail
        self.written.append((token, request, outcome))

    def note(self, event: RecordedEvent) -> None:
        self.noted.append(event)


class Things:
    """A plugin with a route of each kind."""

    def __init__(self) -> None:
        self.PLUGIN = PluginInfo(slug="things", hook_api=1, display_name="Things")
        self.journal = Journal()
        self.proxy = FakeProxy()
        self.ran: list[str] = []
        self.night = False
        self.asked: list[tuple[str, str, str | None]] = []
        self.night_watch: Callable[..., None] = lambda *_: None

    @hookimpl
    def flatrun_register_blueprints(self) -> list[Any]:
        return [self.blueprint()]

    @hookimpl
    def flatrun_register_permissions(self) -> list[Permission]:
        return [
            Permission("things:read", "read"),
            Permission("things:write", "write"),
            Permission("things:x", "x"),
        ]

    @hookimpl
    def flatrun_register_recorders(self) -> list[Journal]:
        return [self.journal]

    @hookimpl
    def flatrun_register_proxy_backends(self) -> list[FakeProxy]:
        return [self.proxy]

    @hookimpl
    def flatrun_authorize(
        self, identity: Identity, access: Access, deployment: str | None, method: str
    ) -> None:
        self.asked.append((method, access.action, deployment))
        if access.action == "things.delete":
            self.night_watch()
        if self.night and access.action == "things.write":
            raise Forbidden("Not at night", code="NIGHT")

    def blueprint(self) -> Blueprint:  # noqa: C901 - a route of each kind, side by side
        blp = Blueprint("things", "things", url_prefix="/api/things", description="t")
        ran = self.ran

        @blp.route("/open")
        class Open(MethodView):
            @public()
            @blp.response(200)
            def get(self) -> dict[str, str]:
                """Open."""
                return {"ok": "yes"}

        @blp.route("/mine")
        class Mine(MethodView):
            @authenticated(action="things.mine")
            @blp.response(200)
            def get(self) -> dict[str, str]:
                """Who am I."""
                return {"actor": identity().actor.type, "id": identity().actor.id}

        @blp.route("/inside")
        class Inside(MethodView):
            @internal
            @blp.response(200)
            def get(self) -> dict[str, str]:
                """Internal."""
                return {"ok": "yes"}

        @blp.route("/<name>")
        class One(MethodView):
            @access("things:read", level=Level.READ)
            @blp.response(200)
            def get(self, name: str) -> dict[str, str]:
                """One."""
                return {"name": name}

            @access("things:write", level=Level.WRITE, action="things.write", resource="thing")
            @blp.arguments(Body)
            @blp.response(200)
            def post(self, body: dict[str, Any], name: str) -> dict[str, Any]:
                """Write."""
                ran.append(name)
                if name == "taken":
                    raise Conflict("It is taken", code="TAKEN", owner="me")
                if name == "broken":
                    raise RuntimeError("secret /etc/passwd")
                return body

            @access("things:write", "things:x", any_of=True, action="things.delete")
            @blp.arguments(Optional)
            @blp.response(200)
            def delete(self, body: dict[str, Any], name: str) -> dict[str, Any]:
                """Delete."""
                return body

        return blp


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
def app(things: Things, flatrun_app: Callable[..., Flask]) -> Flask:
    return flatrun_app(plugins=[things])


def auth(key: str = ADMIN_KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


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
    "headers", [auth(), {"Authorization": f"ApiKey {ADMIN_KEY}"}, {"X-API-Key": ADMIN_KEY}]
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
def test_a_doubled_or_encoded_slash_is_an_unknown_route(app: Flask, things: Things, path: str) -> None:
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


def test_slashes_in_the_query_and_in_the_absolute_form_of_a_request_are_no_matter(app: Flask) -> None:
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


def test_a_plugin_may_refuse_what_the_core_allows(app: Flask, things: Things) -> None:
    things.night = True
    answer = app.test_client().post("/api/things/one", json={"name": "x"}, headers=auth())
    assert (answer.status_code, answer.get_json()["code"]) == (403, "NIGHT")
    assert things.ran == []


def test_a_plugin_is_asked_with_the_method_and_the_deployment(app: Flask, things: Things) -> None:
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


@pytest.mark.parametrize(
    ("data", "content_type", "code"),
    [
        (b"", "application/json", "INVALID_BODY"),
        (b"{", "application/json", "INVALID_BODY"),
        (b"[]", "application/json", "INVALID_BODY"),
        (b'{"name": "x"}', "text/plain", "INVALID_BODY"),
        (b'{"name": NaN}', "application/json", "INVALID_BODY"),
        (b'{"name": "\\ud800"}', "application/json", "INVALID_BODY"),
        (b'{"name": "\xff"}', "application/json", "INVALID_BODY"),
        (b"[" * 200_000, "application/json", "INVALID_BODY"),
        (b'{"name": "x", "count": ' + b"9" * 5000 + b"}", "application/json", "INVALID_BODY"),
        (b"{}", "application/json", "VALIDATION_ERROR"),
        (b'{"name": 1}', "application/json", "VALIDATION_ERROR"),
        (b'{"name": "x", "count": "1"}', "application/json", "VALIDATION_ERROR"),
        (b'{"name": "x", "on": 1}', "application/json", "VALIDATION_ERROR"),
    ],
)
def test_a_bad_body_is_400_and_the_view_does_not_run(
    app: Flask, things: Things, data: bytes, content_type: str, code: str
) -> None:
    answer = app.test_client().post("/api/things/one", data=data, content_type=content_type, headers=auth())
    assert (answer.status_code, answer.get_json()["code"]) == (400, code)
    assert isinstance(answer.get_json()["error"], str)
    assert things.ran == []


def test_unknown_fields_are_ignored_and_an_optional_body_may_be_absent(app: Flask) -> None:
    client = app.test_client()
    assert client.post("/api/things/one", json={"name": "x", "zz": 1}, headers=auth()).get_json() == {
        "name": "x"
    }
    assert client.delete("/api/things/one", headers=auth()).get_json() == {}


def test_a_body_over_one_mebibyte_is_413(app: Flask) -> None:
    body = b'{"name": "' + b"x" * (1024 * 1024) + b'"}'
    answer = app.test_client().post(
        "/api/things/one", data=body, content_type="application/json", headers=auth()
    )
    assert (answer.status_code, answer.get_json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_our_errors_carry_their_details_and_others_carry_nothing(app: Flask) -> None:
    client = app.test_client()
    answer = client.post("/api/things/taken", json={"name": "x"}, headers=auth())
    assert answer.status_code == 409
    assert answer.get_json() == {"error": "It is taken", "code": "TAKEN", "owner": "me"}
    answer = client.post("/api/things/broken", json={"name": "x"}, headers=auth())
    assert answer.status_code == 500
    assert "passwd" not in answer.get_data(as_text=True)
    assert answer.get_json()["code"] == "INTERNAL_ERROR"


def test_every_answer_carries_a_request_id_of_its_own(app: Flask) -> None:
    client = app.test_client()
    ids = {
        client.get(path).headers["X-Request-ID"]
        for path in ("/api/things/open", "/api/none", "/api/things/one")
    }
    assert len(ids) == 3


def test_internal_routes_take_only_the_proxy_token_and_never_a_forwarded_request(app: Flask) -> None:
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
    things: Things, flatrun_app: Callable[..., Flask]
) -> None:
    app = flatrun_app(plugins=[things], settings={"auth.enabled": False})
    assert app.test_client().get("/api/things/mine").get_json()["actor"] == "anonymous"


def test_a_mutation_is_recorded_before_and_after(app: Flask, things: Things) -> None:
    app.test_client().post("/api/things/one", json={"name": "x"}, headers=auth())
    [(token, request, outcome)] = things.journal.written
    assert (token, request.action, request.resource_id, outcome.status) == (
        "token",
        "things.write",
        "one",
        200,
    )
    assert request.body == {"name": "x"}


def test_a_refused_mutation_is_recorded_without_having_begun(app: Flask, things: Things) -> None:
    app.test_client().post("/api/things/one", json={"name": "x"})
    [(token, request, outcome)] = things.journal.written
    assert (token, request.identity, outcome.status) == (None, None, 401)
    assert outcome.error == "Authorization header required"
    assert things.journal.begun == []


def test_a_recorder_that_refuses_stops_the_mutation_before_it_happens(app: Flask, things: Things) -> None:
    things.journal.refuse = Conflict("full", code="FULL")
    assert app.test_client().post("/api/things/one", json={"name": "x"}, headers=auth()).status_code == 409
    assert things.ran == []


def test_a_record_that_cannot_be_written_is_500_audit_failed(app: Flask, things: Things) -> None:
    things.journal.fail = OSError("disk full")
    answer = app.test_client().post("/api/things/one", json={"name": "x"}, headers=auth())
    assert (answer.status_code, answer.get_json()["code"]) == (500, "AUDIT_FAILED")
    assert answer.headers["X-Request-ID"]


def test_cross_origin_needs_an_exact_origin_and_answers_preflight(
    things: Things, flatrun_app: Callable[..., Flask]
) -> None:
    app = flatrun_app(
        plugins=[things],
        settings={"api.enable_cors": True, "api.allowed_origins": ["https://panel.example"]},
    )
    client = app.test_client()
    answer = client.options("/api/things/one", headers={"Origin": "https://panel.example"})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://panel.example"
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    other = client.get("/api/things/open", headers={"Origin": "https://panel.example.evil"})
    assert "Access-Control-Allow-Origin" not in other.headers
    assert client.options("/api/things/one", headers={"Origin": "https://evil"}).status_code == 405


@pytest.mark.parametrize(
    ("peer", "header", "trusted", "expected"),
    [
        ("203.0.113.5", "198.51.100.1", [], "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", ["10.0.0.0/8"], "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1", ["10.0.0.0/8"], "198.51.100.1"),
        ("10.0.0.1", "192.0.2.9, 198.51.100.1, 10.0.0.2", ["10.0.0.0/8"], "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, garbage", ["10.0.0.0/8"], "10.0.0.1"),
        ("10.0.0.1", "", ["10.0.0.0/8"], "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", ["10.0.0.0/8"], "198.51.100.1"),
    ],
)
def test_the_client_address_is_forwarded_only_by_configured_proxies(
    peer: str, header: str, trusted: list[str], expected: str
) -> None:
    assert client_address(peer, {"X-Forwarded-For": header}, parse_networks(trusted)) == expected


def test_docs_need_an_identity_when_they_are_not_public(
    things: Things, flatrun_app: Callable[..., Flask]
) -> None:
    app = flatrun_app(plugins=[things], settings={"api.public_docs": False})
    assert app.test_client().get("/api/openapi.json").status_code == 401
    assert app.test_client().get("/api/openapi.json", headers=auth()).status_code == 200


def test_a_database_that_cannot_serve_is_503_without_its_own_text(app: Flask, things: Things) -> None:
    def unreachable(*_: Any) -> None:
        driver = sqlite3.OperationalError("unable to open database file /secret/place")
        driver.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        try:
            raise driver
        except sqlite3.OperationalError as exc:
            raise peewee.OperationalError(*exc.args) from exc

    things.night_watch = unreachable
    answer = app.test_client().delete("/api/things/one", headers=auth())
    assert (answer.status_code, answer.get_json()["code"]) == (503, "DATABASE_UNAVAILABLE")
    assert "/secret/place" not in answer.get_data(as_text=True)


def test_the_state_folder_is_private(app: Flask, tmp_path: Path) -> None:
    folder = tmp_path / "deployments" / ".flatrun"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "flatrun.db").stat().st_mode & 0o777 == 0o600
