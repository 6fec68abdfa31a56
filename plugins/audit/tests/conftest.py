"""A panel with the audit, a plugin with routes worth recording, and the means to break its database."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from flask.views import MethodView
from marshmallow import Schema

from flatrun_audit import models, plugin
from flatrun_audit.canonical import Entry, sealed
from flatrun_audit.cleanup import CLEANER, Cleaner
from flatrun_audit.interrupted import WATCH, Watch
from flatrun_audit.recorder import RECORDER, AuditRecorder
from flatrun_audit.verifying import Report
from flatrun_audit.verifying_database import verify_database
from flatrun_core import (
    HOOK_API,
    Blueprint,
    Conflict,
    InputSchema,
    Invalid,
    PluginInfo,
    RateLimited,
    Unauthenticated,
    access,
    fields,
    hookimpl,
    public,
    record_facts,
)
from flatrun_core.ports.auth import Actor, Permission
from flatrun_core.ports.programs import PROGRAMS
from flatrun_core.ports.secrets import SIGNING
from flatrun_core.ports.storage import DATABASE
from flatrun_core.testing.client import ADMIN_KEY, ApiClient, Login

COLUMNS = ", ".join(Entry._fields)


class Anything(InputSchema):
    outcome = fields.String(load_default="done")
    count = fields.Integer(load_default=0)


class Said(Schema):
    message = fields.String(required=True)


def outcome_of(body: dict[str, Any]) -> dict[str, str]:
    if body["outcome"] == "conflict":
        raise Conflict("It is in use")
    if body["outcome"] == "crash":
        raise RuntimeError("a secret in a traceback")
    if body["outcome"].startswith("echo "):
        raise Invalid(f"Not good: {body['outcome'][5:]}")
    record_facts(changed=["name"], share=0.5)
    return {"message": "Changed"}


def logged_in(body: dict[str, Any]) -> dict[str, str]:
    if body["outcome"] == "throttled":
        raise RateLimited("Too many attempts")
    if body["outcome"] != "done":
        raise Unauthenticated("Invalid username or password", code="INVALID_CREDENTIALS")
    record_facts(actor=Actor("user", "7", "ada"))
    return {"message": "Welcome"}


def shop_blueprint() -> Blueprint:
    blp = Blueprint("shop", __name__, url_prefix="/api/shop")

    @blp.route("/<thing>")
    class Things(MethodView):
        @access("shop:read", resource="thing")
        @blp.response(200, Said)
        def get(self, thing: str) -> dict[str, str]:
            """Read."""
            return {"message": thing}

        @access("shop:write", action="things.change", resource="thing")
        @blp.arguments(Anything)
        @blp.response(200, Said)
        def put(self, body: dict[str, Any], thing: str) -> dict[str, str]:
            """Change."""
            return outcome_of(body)

    @blp.route("/<thing>/env")
    class Secrets(MethodView):
        @access("shop:read", resource="thing", secret=True)
        @blp.response(200, Said)
        def get(self, thing: str) -> dict[str, str]:
            """Read secrets."""
            return {"message": "s3cret"}

    @blp.route("/login")
    class Login(MethodView):
        @public(action="auth.login", resource="auth")
        @blp.arguments(Anything)
        @blp.response(200, Said)
        def post(self, body: dict[str, Any]) -> dict[str, str]:
            """Log in."""
            return logged_in(body)

    return blp


class Shop:
    """A plugin with one of each kind of route."""

    PLUGIN = PluginInfo(slug="shop", hook_api=HOOK_API, display_name="Shop")

    @hookimpl
    def flatrun_register_blueprints(self) -> list[Blueprint]:
        return [shop_blueprint()]

    @hookimpl
    def flatrun_register_permissions(self) -> list[Permission]:
        return [Permission("shop:read", "Read"), Permission("shop:write", "Write")]


class Bench:
    """One panel; ``path`` is its database."""

    def __init__(self, app: Flask, client: ApiClient, root: Path) -> None:
        self.app = app
        self.client = client
        self.path = root / "deployments" / ".flatrun" / "flatrun.db"
        self.services = app.extensions["flatrun"].services
        self.nobody = ApiClient(app, None)

    @property
    def recorder(self) -> AuditRecorder:
        found: AuditRecorder = self.services.get(RECORDER)
        return found

    @property
    def watch(self) -> Watch:
        found: Watch = self.services.get(WATCH)
        return found

    @property
    def cleaner(self) -> Cleaner:
        found: Cleaner = self.services.get(CLEANER)
        return found

    @property
    def database(self) -> Any:
        return self.services.get(DATABASE)

    def events(self, **query: Any) -> list[dict[str, Any]]:
        """What the route lists, newest first."""
        answer = self.client.get("/api/audit/events", query_string=query)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        found: list[dict[str, Any]] = answer.get_json()["events"]
        return found

    def change(self, thing: str = "x", **body: Any) -> Any:
        return self.client.put(f"/api/shop/{thing}", json=body)

    def session(self, permissions: list[str]) -> ApiClient:
        """A client of somebody with these permissions."""
        return Login()(self.app, permissions)

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Whatever somebody with the file could do."""
        with sqlite3.connect(self.path, timeout=10) as connection:
            rows = connection.execute(statement, values).fetchall()
        connection.close()
        return rows

    def row(self, number: int) -> Entry:
        """An event as it stands in the table."""
        return Entry._make(self.sql(f"SELECT {COLUMNS} FROM audit_event WHERE id = ?", number)[0])

    def insert(self, number: int, **changes: Any) -> None:
        """Add a row as somebody makes it who has this program and not the key: well linked, well hashed."""
        last = self.sql("SELECT MAX(id) FROM audit_event WHERE id < ?", number)[0][0]
        before = self.row(last or self.sql("SELECT MIN(id) FROM audit_event")[0][0])
        name = f"foreign-{number}"
        made = before._replace(id=number, event_id=name, action="users.delete", prev_hash=before.hash)
        made = sealed(made._replace(**changes))
        self.sql(f"INSERT INTO audit_event ({COLUMNS}) VALUES ({', '.join('?' * len(made))})", *made)

    def verify(self, *, keyed: bool = True) -> Report:
        read = self.services.get(SIGNING).read if keyed else None
        return verify_database(self.database, read, self.services.get(PROGRAMS))

    def export(self, **body: Any) -> Response:
        answer: Response = self.client.post("/api/audit/export", json=body)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(flatrun_app: Callable[..., Flask], flatrun_client: Any, tmp_path: Path) -> MakeBench:
    """Return a function that makes panels with these settings of the audit."""

    def make(**settings: Any) -> Bench:
        app = flatrun_app(plugins=[plugin, Shop()], settings={f"audit.{k}": v for k, v in settings.items()})
        return Bench(app, flatrun_client(app), tmp_path)

    return make


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a flatrun.yml for the command line, of the panel that ``bench`` is."""
    path = tmp_path / "flatrun.yml"
    path.write_text(
        json.dumps({"deployments_path": str(tmp_path / "deployments"), "auth": {"api_keys": [ADMIN_KEY]},
                    "plugins": {"only": ["audit"]}})
    )  # fmt: skip
    return path


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Return a switch that makes every write to the tables of the audit fail."""
    state = {"on": False}
    run = models.run

    def refusing(model: Any, sql: str, values: Any = ()) -> Any:
        if state["on"] and not sql.startswith("SELECT"):
            raise sqlite3.OperationalError("database or disk is full")
        return run(model, sql, values)

    monkeypatch.setattr(models, "run", refusing)
    return lambda on: state.update(on=on)
