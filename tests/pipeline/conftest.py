"""An application with a route of each kind, and a recorder that keeps everything."""

from collections.abc import Callable
from typing import Any

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


@pytest.fixture
def auth() -> Callable[..., dict[str, str]]:
    """Headers with a key, the administrator's unless another is given."""
    return lambda key=ADMIN_KEY: {"Authorization": f"Bearer {key}"}
