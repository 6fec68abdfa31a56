"""Changes are recorded before they happen and after, refused ones too."""

from typing import Any

from flask import Flask

from flatrun_core import (
    Conflict,
)


def test_a_mutation_is_recorded_before_and_after(app: Flask, things: Any, auth: Any) -> None:
    app.test_client().post("/api/things/one", json={"name": "x"}, headers=auth())
    [(token, request, outcome)] = things.journal.written
    assert (token, request.action, request.resource_id, outcome.status) == (
        "token",
        "things.write",
        "one",
        200,
    )
    assert request.body == {"name": "x"}


def test_a_refused_mutation_is_recorded_without_having_begun(app: Flask, things: Any) -> None:
    app.test_client().post("/api/things/one", json={"name": "x"})
    [(token, request, outcome)] = things.journal.written
    assert (token, request.identity, outcome.status) == (None, None, 401)
    assert outcome.error == "Authorization header required"
    assert things.journal.begun == []


def test_a_recorder_that_refuses_stops_the_mutation_before_it_happens(
    app: Flask, things: Any, auth: Any
) -> None:
    things.journal.refuse = Conflict("full", code="FULL")
    assert app.test_client().post("/api/things/one", json={"name": "x"}, headers=auth()).status_code == 409
    assert things.ran == []


def test_a_record_that_cannot_be_written_is_500_audit_failed(app: Flask, things: Any, auth: Any) -> None:
    things.journal.fail = OSError("disk full")
    answer = app.test_client().post("/api/things/one", json={"name": "x"}, headers=auth())
    assert (answer.status_code, answer.get_json()["code"]) == (500, "AUDIT_FAILED")
    assert answer.headers["X-Request-ID"]
