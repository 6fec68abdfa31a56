"""The first administrator: by a given password or a made-up one, and only once."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.ports.storage import DATABASE
from flatrun_users import bootstrap
from flatrun_users.bootstrap import VARIABLE
from flatrun_users.models import User

GIVEN = "a password from outside"


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(f"{VARIABLE}_FILE", raising=False)


def serve(house: Any) -> None:
    assert house.panel.hooks.notify("flatrun_on_serve") == []


def names(house: Any) -> list[str]:
    with house.panel.database.session():
        return [row.username for row in User.select()]


def printed(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = [one for one in caplog.records if "Password:" in one.getMessage()]
    assert record.levelno == logging.WARNING
    return record.getMessage().split("Password: ")[1].split()[0]


def test_with_no_user_an_administrator_is_made_with_the_password_of_the_environment(
    house: Any, door_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(VARIABLE, GIVEN)
    serve(house)
    answer = door_of(house.app)("admin", GIVEN)
    assert answer.status_code == 200
    assert answer.get_json()["user"]["role"] == "admin"
    assert GIVEN not in caplog.text


def test_without_one_a_password_is_made_up_and_told_once(
    house: Any, door_of: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    serve(house)
    password = printed(caplog)
    assert len(password) >= 20
    assert caplog.text.count(password) == 1
    assert door_of(house.app)("admin", password).status_code == 200
    found = [
        path for path in tmp_path.rglob("*") if path.is_file() and password.encode() in path.read_bytes()
    ]
    assert found == []


def test_an_empty_variable_gives_nothing(
    house: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    serve(house)
    assert printed(caplog)


@pytest.mark.parametrize(("text", "name"), [("", "secret"), (GIVEN, "")])
def test_an_empty_variable_is_no_second_answer(
    house: Any, door_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, name: str
) -> None:
    (tmp_path / "secret").write_text(GIVEN)
    monkeypatch.setenv(VARIABLE, text)
    monkeypatch.setenv(f"{VARIABLE}_FILE", name and str(tmp_path / name))
    serve(house)
    assert door_of(house.app)("admin", GIVEN).status_code == 200


def test_the_password_may_stand_in_a_file(
    house: Any, door_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(GIVEN + "\n")
    monkeypatch.setenv(f"{VARIABLE}_FILE", str(tmp_path / "secret"))
    serve(house)
    assert door_of(house.app)("admin", GIVEN).status_code == 200


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe" * 8, "cannot be read"),
     (b"short", "8 to 256 characters")],
)  # fmt: skip
def test_a_file_that_gives_no_password_makes_no_administrator(
    house: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes | None,
    reason: str,
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv(f"{VARIABLE}_FILE", str(tmp_path / "secret"))
    serve(house)
    assert names(house) == []
    assert reason in caplog.text


@pytest.mark.parametrize("text", ["short", "x" * 257])
def test_a_password_that_may_be_none_makes_no_administrator_and_is_not_told(
    house: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    serve(house)
    assert names(house) == []
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert VARIABLE in record.getMessage()
    assert "8 to 256 characters" in record.getMessage()
    assert text not in caplog.text


def test_two_answers_to_one_question_make_no_administrator(
    house: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, GIVEN)
    monkeypatch.setenv(f"{VARIABLE}_FILE", "/nowhere")
    serve(house)
    assert names(house) == []
    assert "both set" in caplog.text


def test_with_any_user_nothing_happens(
    house: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.user("anna", "viewer", active=False)
    monkeypatch.setenv(VARIABLE, GIVEN)
    serve(house)
    serve(house)
    assert names(house) == ["anna"]
    assert "administrator" not in caplog.text


def test_it_is_recorded_as_the_systems(house: Any, notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, GIVEN)
    serve(house)
    (event,) = notebook.events
    with house.panel.database.session():
        number = User.get().id
    assert (event.action, event.resource_type, event.resource_id) == ("users.bootstrap", "user", str(number))
    assert event.actor.type == "system"
    assert GIVEN not in repr(event)


def test_what_cannot_be_recorded_is_not_made(
    house: Any, notebook: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(event: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(notebook, "note", full)
    assert house.panel.hooks.notify("flatrun_on_serve") == ["users"]
    assert names(house) == []
    assert "Password:" not in caplog.text


def test_of_processes_that_start_at_once_one_makes_it_and_tells_the_password(
    house: Any,
    door_of: Any,
    at_once: Callable[..., list[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    contexts = [house.panel.hooks.context("users")] * 8
    made = at_once([lambda ctx=ctx: bootstrap.bootstrap(ctx) for ctx in contexts])
    assert sorted(made) == [False] * 7 + [True]
    assert names(house) == ["admin"]
    assert door_of(house.app)("admin", printed(caplog)).status_code == 200


def test_one_who_was_faster_after_the_last_look_is_no_failure(
    house: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make = User.make

    def slower(*columns: Any) -> Any:
        make(*columns)
        return make(*columns)

    monkeypatch.setattr(User, "make", slower)
    assert bootstrap.bootstrap(house.panel.hooks.context("users")) is False
    assert "Password:" not in caplog.text
    assert house.service(DATABASE) is house.panel.database
