"""What tests of the core and end-to-end tests share."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Response
from flask.views import MethodView

import flatrun_core
from flatrun_core import (
    Blueprint,
    InputSchema,
    Level,
    PluginInfo,
    ServerEvent,
    access,
    authenticated,
    event_stream,
    fields,
    hookimpl,
    identity,
    internal,
    public,
    service,
)
from flatrun_core.db import MigrationSet
from flatrun_core.ports.auth import Permission
from flatrun_core.ports.deployments import Recipe, Rendered
from flatrun_core.ports.scheduling import JOBS, JobContext, JobKind
from flatrun_core.ports.storage import StorageBackend

# What generated tests record of themselves (``record_property``), and how the summary tells it.
COUNTED = {
    "access matrix": (
        "{each[routes]} routes, {each[rows]} requests x {parts} actors = {total[pairs]} pairs",
        "as declared",
    ),
    "hostile input": ("{total[texts]} texts in {each[places]} places of {each[routes]} routes", "harmless"),
}
MIGRATE = """
import importlib, sys
from pathlib import Path
from flatrun_core.db import MigrationSet, open_database
url, backend, folder = sys.argv[1:]
module, _, name = backend.partition(":")
database = open_database(url, [getattr(importlib.import_module(module), name)()])
print(database.prepare([MigrationSet("shop", Path(folder))], migrate=True))
"""


@pytest.fixture
def migrating_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start another process that applies migrations and prints the names of those it applied.

    Called with the backend's class, the URL, the scripts and environment variables. Standard input is
    a pipe, so that a script that reads it hangs until it is killed; all of them end with the test.
    """
    started: list[subprocess.Popen[str]] = []
    root = str(Path(flatrun_core.__file__).parents[1])

    def start(
        backend: type[StorageBackend], url: str, scripts: MigrationSet, **environ: str
    ) -> subprocess.Popen[str]:
        name = f"{backend.__module__}:{backend.__qualname__}"
        process = subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url, name, str(scripts.directory)],
            env={**os.environ, "PYTHONPATH": root, **environ},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Note(InputSchema):
    """Body of the stranger's POST routes."""

    text = fields.String(required=True, metadata={"example": "remember the milk"})


def _owner(arguments: dict[str, Any]) -> str | None:
    return service(JOBS).get(arguments["job_id"]).deployment


def _submit(deployment: str | None) -> dict[str, str]:
    job = service(JOBS).submit("stranger.work", {}, deployment=deployment, actor=identity().actor)
    return {"id": job.id}


def _ok(self: Any, **_: Any) -> dict[str, str]:
    """Answer."""
    return {"ok": "yes"}


def _work(self: Any, name: str | None = None) -> dict[str, str]:
    """Queue work."""
    return _submit(name)


def _note(self: Any, body: dict[str, Any]) -> dict[str, str]:
    """Take a note."""
    return _submit(None)


def _cancel(self: Any, job_id: str) -> dict[str, str]:
    """Cancel work."""
    return {"id": service(JOBS).cancel(job_id).id}


def _stream(self: Any, name: str) -> Response:
    """Follow."""
    return event_stream(iter([ServerEvent("note", {"of": name}), *[None] * 3]))


def _download(self: Any, name: str) -> Response:
    """Take everything away."""
    return Response(b"the notes of " + name.encode(), mimetype="application/octet-stream")


def stranger_blueprint() -> Blueprint:
    """Routes of every kind that a declaration can have."""
    blp = Blueprint("stranger", "stranger", url_prefix="/api/stranger", description="A stranger's")
    answer, noted = blp.response(200), blp.arguments(Note)
    events = blp.response(200, content_type="text/event-stream")
    file = blp.response(200, content_type="application/octet-stream")
    read, write, admin = ({"level": level} for level in Level)
    by_job = {"deployment": _owner}
    rules: list[tuple[str, str, Callable[..., Any], Callable[..., Any]]] = [
        ("/open", "get", public(), answer(_ok)),
        ("/open", "post", public(action="stranger.open"), answer(_ok)),
        ("/mine", "get", authenticated(), answer(_ok)),
        ("/mine", "post", authenticated(action="stranger.mine"), answer(_work)),
        ("/inside", "get", internal, answer(_ok)),
        ("/notes", "get", access("stranger:read"), answer(_ok)),
        ("/notes", "post", access("stranger:write"), noted(answer(_note))),
        ("/notes", "delete", access("stranger:admin"), answer(_work)),
        ("/either", "get", access("stranger:write", "audit:read", any_of=True), answer(_ok)),
        ("/both", "get", access("stranger:read", "dns:write"), answer(_ok)),
        ("/of/<name>", "get", access("stranger:read", **read), answer(_ok)),
        ("/of/<name>", "post", access("stranger:read", **write), answer(_work)),
        ("/of/<name>", "delete", access("stranger:write", **admin), answer(_work)),
        ("/of/<name>/events", "get", access("stranger:read", **write), events(_stream)),
        ("/of/<name>/file", "get", access("stranger:read", **read, secret=True), file(_download)),
        ("/jobs/<job_id>", "get", access("stranger:read", **read, **by_job), answer(_ok)),
        ("/jobs/<job_id>", "post", access("stranger:read", **write, **by_job), answer(_cancel)),
        ("/jobs/<job_id>", "delete", access("stranger:read", **admin, **by_job), answer(_cancel)),
    ]
    by_path: dict[str, dict[str, Any]] = {}
    for path, method, declaration, view in rules:
        by_path.setdefault(path, {})[method] = declaration(view)
    for number, (path, methods) in enumerate(by_path.items()):
        blp.route(path)(type(f"Stranger{number}", (MethodView,), methods))
    return blp


class Stranger:
    """A third party's plugin."""

    PLUGIN = PluginInfo(slug="stranger", hook_api=1, display_name="Stranger")

    @hookimpl
    def flatrun_register_blueprints(self) -> list[Blueprint]:
        return [stranger_blueprint()]

    @hookimpl
    def flatrun_register_permissions(self) -> list[Permission]:
        return [
            Permission("stranger:read", "See notes", ("operator", "viewer")),
            Permission("stranger:write", "Take notes", ("operator",)),
            Permission("stranger:admin", "Burn notes"),
        ]

    @hookimpl
    def flatrun_register_jobs(self) -> list[JobKind]:
        return [JobKind("stranger.work", _nothing)]

    @hookimpl(optionalhook=True)
    def flatrun_register_recipes(self) -> list[Recipe]:
        text = "services:\n  web:\n    image: test/web\n"
        return [Recipe("stranger", {"type": "object"}, lambda name, config: Rendered(text))]


def _nothing(job: JobContext) -> None:
    """Work that is soon done."""


@pytest.fixture(scope="session")
def stranger() -> Stranger:
    """A third party's plugin with a route of every kind."""
    return Stranger()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what the generated tests covered, from what they recorded of themselves."""
    lines: dict[str, list[dict[str, int]]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name in COUNTED:
                    lines.setdefault(name, []).append(value)
    for name, found in lines.items():
        wrong = sum(one["wrong"] for one in found)
        total = {key: sum(one[key] for one in found) for key in found[0]}
        each = {key: max(one[key] for one in found) for key in found[0]}
        text, good = COUNTED[name]
        text = text.format(parts=len(found), total=total, each=each)
        verdict = f"{wrong} NOT {good}" if wrong else f"all {good}"
        terminalreporter.write_line(f"{name}: {text}, {verdict}", bold=True, red=bool(wrong))
