"""What a body must be, and what every failure looks like."""

import sqlite3
from pathlib import Path
from typing import Any

import peewee
import pytest
from flask import Flask


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
        ('{"name": "x"}'.encode("utf-16"), "application/json", "INVALID_BODY"),
        ('{"name": "x"}'.encode("utf-32-be"), "application/json", "INVALID_BODY"),
        (b"[" * 200_000, "application/json", "INVALID_BODY"),
        (b'{"name": "x", "count": ' + b"9" * 5000 + b"}", "application/json", "INVALID_BODY"),
        (b"{}", "application/json", "VALIDATION_ERROR"),
        (b'{"name": 1}', "application/json", "VALIDATION_ERROR"),
        (b'{"name": "x", "count": "1"}', "application/json", "VALIDATION_ERROR"),
        (b'{"name": "x", "on": 1}', "application/json", "VALIDATION_ERROR"),
    ],
)
def test_a_bad_body_is_400_and_the_view_does_not_run(
    app: Flask, things: Any, data: bytes, content_type: str, code: str, auth: Any
) -> None:
    answer = app.test_client().post("/api/things/one", data=data, content_type=content_type, headers=auth())
    assert (answer.status_code, answer.get_json()["code"]) == (400, code)
    assert isinstance(answer.get_json()["error"], str)
    assert things.ran == []


def test_unknown_fields_are_ignored_and_an_optional_body_may_be_absent(app: Flask, auth: Any) -> None:
    client = app.test_client()
    assert client.post("/api/things/one", json={"name": "x", "zz": 1}, headers=auth()).get_json() == {
        "name": "x"
    }
    assert client.delete("/api/things/one", headers=auth()).get_json() == {}


def test_a_body_over_one_mebibyte_is_413(app: Flask, auth: Any) -> None:
    body = b'{"name": "' + b"x" * (1024 * 1024) + b'"}'
    answer = app.test_client().post(
        "/api/things/one", data=body, content_type="application/json", headers=auth()
    )
    assert (answer.status_code, answer.get_json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_our_errors_carry_their_details_and_others_carry_nothing(app: Flask, auth: Any) -> None:
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


def test_a_database_that_cannot_serve_is_503_without_its_own_text(app: Flask, things: Any, auth: Any) -> None:
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
