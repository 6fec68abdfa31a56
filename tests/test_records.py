"""What recorders get to know: of requests, from views, and of work that is no request."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView

from flatrun_core import (
    HOOK_API,
    Blueprint,
    Conflict,
    InputSchema,
    PluginInfo,
    StartupError,
    access,
    authenticated,
    client_ip,
    hookimpl,
    identify,
    internal,
    public,
    record_facts,
)
from flatrun_core.fields import String
from flatrun_core.ports.auth import (
    RECORD,
    SYSTEM,
    Actor,
    Permission,
    RecordedEvent,
    RecordedOutcome,
    RecordedRequest,
)
from flatrun_core.testing.client import ADMIN_KEY
from flatrun_core.testing.fakes import FakeProxy


class Journal:
    """A recorder that keeps everything, or refuses."""

    def __init__(self, name: str = "journal") -> None:
        self.name = name
        self.begun: list[RecordedRequest] = []
        self.written: list[tuple[RecordedRequest, RecordedOutcome]] = []
        self.noted: list[RecordedEvent] = []
        self.fail: Exception | None = None

    def begin(self, request: RecordedRequest) -> None:
        self.begun.append(request)

    def finish(self, token: Any, request: RecordedRequest, outcome: RecordedOutcome) -> None:
        self.written.append((request, outcome))

    def note(self, event: RecordedEvent) -> None:
        if self.fail:
            raise self.fail
        self.noted.append(event)


class Body(InputSchema):
    name = String(required=True)


class Desk:
    """A plugin whose views tell the record things."""

    def __init__(self, *journals: Journal) -> None:
        self.PLUGIN = PluginInfo(slug="desk", hook_api=HOOK_API, display_name="Desk")
        self.journals = journals or (Journal(),)
        self.proxy = FakeProxy()

    @hookimpl
    def flatrun_register_recorders(self) -> Sequence[Journal]:
        return self.journals

    @hookimpl
    def flatrun_register_proxy_backends(self) -> Sequence[FakeProxy]:
        return [self.proxy]

    @hookimpl
    def flatrun_register_permissions(self) -> Sequence[Permission]:
        return [Permission("desk:read", "Read"), Permission("desk:write", "Write")]

    @hookimpl
    def flatrun_register_blueprints(self) -> Sequence[Any]:
        return [blueprint()]


def blueprint() -> Blueprint:  # noqa: C901 - a view for each thing that can be told
    blp = Blueprint("desk", "desk", url_prefix="/api/desk", description="d")

    @blp.route("/enter")
    class Enter(MethodView):
        @public(action="desk.enter", resource="visitor")
        @blp.arguments(Body)
        @blp.response(200)
        def post(self, body: dict[str, Any]) -> dict[str, str]:
            """Enter by name."""
            record_facts(actor=Actor("user", "7", body["name"]))
            if body["name"] == "mallory":
                raise Conflict("Mallory may not enter", code="NOT_MALLORY")
            return {}

    @blp.route("/papers")
    class Papers(MethodView):
        @access("desk:write", action="desk.file", resource="paper")
        @blp.arguments(Body)
        @blp.response(201)
        def post(self, body: dict[str, Any]) -> dict[str, str]:
            """File a paper."""
            record_facts(resource_id="41", pages=1)
            record_facts(drawer="left")
            record_facts(resource_id="42", pages=2)
            return {}

    @blp.route("/papers/<int:number>/<part>")
    class Paper(MethodView):
        @access("desk:read", secret=True, action="desk.read", resource="paper")
        @blp.response(200)
        def get(self, number: int, part: str) -> dict[str, str]:
            """Read a secret paper."""
            return {}

        @access("desk:write", action="desk.shred", resource="paper")
        @blp.response(200)
        def delete(self, number: int, part: str) -> dict[str, str]:
            """Shred a paper."""
            return {}

    @blp.route("/who")
    class Who(MethodView):
        @public()
        @blp.raises(401)
        @blp.response(200)
        def get(self) -> dict[str, str]:
            """Who asks; open to all, but only of use with a credential."""
            return {"id": identify().actor.id, "ip": client_ip()}

    @blp.route("/where")
    class Where(MethodView):
        @authenticated()
        @blp.response(200)
        def get(self) -> dict[str, str]:
            """From where."""
            return {"ip": client_ip()}

    @blp.route("/inside")
    class Inside(MethodView):
        @internal
        @blp.response(200)
        def post(self) -> dict[str, str]:
            """For the proxy."""
            record_facts(pages=1)
            return {"ip": client_ip()}

    return blp


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def app(desk: Desk, flatrun_app: Callable[..., Flask]) -> Flask:
    return flatrun_app(plugins=[desk])


def admin() -> dict[str, str]:
    return {"Authorization": f"Bearer {ADMIN_KEY}"}


# --- requests ---


def test_a_record_names_the_route_beside_the_path(app: Flask, desk: Desk) -> None:
    app.test_client().delete("/api/desk/papers/5/back?why=%C3%A9&x", headers=admin())
    [(request, _)] = desk.journals[0].written
    assert (request.method, request.path, request.query) == (
        "DELETE",
        "/api/desk/papers/5/back",
        "why=%C3%A9&x",
    )
    assert request.route == "/api/desk/papers/<int:number>/<part>"
    assert (request.action, request.resource_type, request.resource_id) == ("desk.shred", "paper", "5")
    assert (request.mutation, request.secret) == (True, False)
    assert desk.journals[0].begun == [request]


def test_a_route_that_answers_secrets_is_marked(app: Flask, desk: Desk) -> None:
    client = app.test_client()
    client.get("/api/desk/papers/5/back", headers=admin())
    client.get("/api/desk/where", headers=admin())
    assert [(request.secret, request.mutation) for request, _ in desk.journals[0].written] == [
        (True, False),
        (False, False),
    ]


def test_the_actor_is_the_identity_s(app: Flask, desk: Desk) -> None:
    app.test_client().get("/api/desk/where", headers=admin())
    [(request, _)] = desk.journals[0].written
    assert request.identity is not None
    assert request.actor == request.identity.actor == Actor("api_key", "key_0", "key_0")


def test_who_is_refused_is_anonymous(app: Flask, desk: Desk) -> None:
    app.test_client().get("/api/desk/where", headers={"X-API-Key": "wrong"})
    [(request, outcome)] = desk.journals[0].written
    assert (request.actor, request.identity, outcome.status) == (Actor("anonymous"), None, 401)


@pytest.mark.parametrize(("name", "status"), [("ada", 200), ("mallory", 409)])
def test_a_public_view_names_whom_it_learnt_to_be_acting(
    app: Flask, desk: Desk, name: str, status: int
) -> None:
    assert app.test_client().post("/api/desk/enter", json={"name": name}).status_code == status
    [(request, outcome)] = desk.journals[0].written
    assert (request.actor, request.identity) == (Actor("user", "7", name), None)
    assert outcome.status == status
    assert desk.journals[0].begun == [replace(request, actor=Actor("anonymous"))]


def test_facts_add_up_and_the_last_of_a_name_counts(app: Flask, desk: Desk) -> None:
    app.test_client().post("/api/desk/papers", json={"name": "x"}, headers=admin())
    [(request, outcome)] = desk.journals[0].written
    assert (request.resource_id, outcome.resource_id) == ("", "42")
    assert outcome.metadata == {"pages": 2, "drawer": "left"}


def test_facts_of_one_request_are_not_those_of_the_next(app: Flask, desk: Desk) -> None:
    client = app.test_client()
    client.post("/api/desk/papers", json={"name": "x"}, headers=admin())
    client.post("/api/desk/enter", json={"name": "ada"})
    client.get("/api/desk/where", headers=admin())
    request, outcome = desk.journals[0].written[-1]
    assert (outcome.metadata, outcome.resource_id) == ({}, "")
    assert request.actor.type == "api_key"


def test_the_body_of_a_refused_request_is_not_recorded(app: Flask, desk: Desk) -> None:
    client = app.test_client()
    client.post("/api/desk/papers", json={"name": "hunter2"})
    client.post("/api/desk/papers", json={"name": "x"}, headers=admin())
    assert [request.body for request, _ in desk.journals[0].written] == [None, {"name": "x"}]
    assert "hunter2" not in repr([request for request, _ in desk.journals[0].written])


def test_internal_requests_are_not_recorded_whatever_they_tell(app: Flask, desk: Desk) -> None:
    answer = app.test_client().post("/api/desk/inside", headers={"X-Internal-Token": desk.proxy.token})
    assert answer.status_code == 200
    assert (desk.journals[0].begun, desk.journals[0].written) == ([], [])


# --- who and from where ---


def test_a_public_view_may_ask_who_it_is(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/api/desk/who", headers=admin()).get_json()["id"] == "key_0"
    for headers, code in (({}, "AUTH_REQUIRED"), ({"Authorization": "Bearer x"}, "INVALID_TOKEN")):
        answer = client.get("/api/desk/who", headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (401, code)


def test_a_public_view_without_authentication_meets_the_anonymous_administrator(
    desk: Desk, flatrun_app: Callable[..., Flask]
) -> None:
    app = flatrun_app(plugins=[desk], settings={"auth.enabled": False})
    assert app.test_client().get("/api/desk/who").get_json()["id"] == ""


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "expected"),
    [
        ([], "203.0.113.5", "198.51.100.1", "203.0.113.5"),
        (["10.0.0.0/8"], "203.0.113.5", "198.51.100.1", "203.0.113.5"),
        (["10.0.0.0/8"], "10.0.0.1", "198.51.100.1", "198.51.100.1"),
        (["10.0.0.1"], "10.0.0.1", "10.0.0.9, 198.51.100.1", "198.51.100.1"),
    ],
)
def test_a_view_gets_the_address_that_the_record_gets(
    desk: Desk,
    flatrun_app: Callable[..., Flask],
    trusted: list[str],
    peer: str,
    forwarded: str,
    expected: str,
) -> None:
    app = flatrun_app(plugins=[desk], settings={"api.trusted_proxies": trusted})
    answer = app.test_client().get(
        "/api/desk/where",
        headers={**admin(), "X-Forwarded-For": forwarded},
        environ_overrides={"REMOTE_ADDR": peer},
    )
    assert answer.get_json() == {"ip": expected}
    assert [request.client_ip for request, _ in desk.journals[0].written] == [expected]


# --- work that is no request ---


def test_work_is_written_down_in_every_recorder(flatrun_app: Callable[..., Flask]) -> None:
    journals = (Journal("one"), Journal("two"))
    record = flatrun_app(plugins=[Desk(*journals)]).extensions["flatrun"].services.get(RECORD)
    event = RecordedEvent("users.unlock", "user", "7", Actor("system", "cli", "root"), metadata={"n": 1})
    record.write(event)
    assert [journal.noted for journal in journals] == [[event], [event]]


def test_work_is_the_system_s_unless_told_otherwise() -> None:
    event = RecordedEvent("audit.cleanup", "audit")
    assert (event.actor, event.error, event.resource_id, dict(event.metadata)) == (SYSTEM.actor, "", "", {})


def test_who_works_learns_that_it_could_not_be_written_down(flatrun_app: Callable[..., Flask]) -> None:
    journal = Journal()
    journal.fail = OSError("disk full")
    record = flatrun_app(plugins=[Desk(journal)]).extensions["flatrun"].services.get(RECORD)
    with pytest.raises(OSError, match="disk full"):
        record.write(RecordedEvent("users.unlock", "user"))


def test_without_a_recorder_work_is_done_all_the_same(flatrun_app: Callable[..., Flask]) -> None:
    app = flatrun_app()
    app.extensions["flatrun"].services.get(RECORD).write(RecordedEvent("users.unlock", "user"))
    assert app.extensions["flatrun"].recorders == []


def test_two_recorders_of_one_name_are_refused(flatrun_app: Callable[..., Flask]) -> None:
    with pytest.raises(StartupError, match="recorder 'journal' is already that of plugin 'desk'"):
        flatrun_app(plugins=[Desk(Journal(), Journal())])
