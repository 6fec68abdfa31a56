"""``flatrun users``: on the database of a panel, stopped or running, without a key."""

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyotp
import pytest
from click.testing import CliRunner, Result

import flatrun_users.plugin as users_plugin
from flatrun_core.cli import Session
from flatrun_core.errors import Failed
from flatrun_core.plugins import of_modules
from flatrun_core.ports.auth import Actor
from flatrun_users import commands
from flatrun_users.models import LoginAttempt

CURRENT = "correct horse battery"

Run = Callable[..., Result]


@pytest.fixture
def run(house: Any, recording_plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``flatrun users`` on the panel of ``house``, which goes on running."""
    run_one = runner(tmp_path, monkeypatch, [users_plugin, recording_plugin])

    def run(*arguments: str, **options: Any) -> Result:
        try:
            return run_one(*arguments, **options)
        finally:
            # The tables of a process have one database, and the command took it for itself.
            house.panel.database.bind(model for one in house.panel.migrations for model in one.models)

    return run


@pytest.fixture
def run_without_a_panel(
    cheap_passwords: None, recording_plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run ``flatrun users`` where no panel was ever started."""
    return runner(tmp_path, monkeypatch, [users_plugin, recording_plugin])


def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugins: list[Any]) -> Run:
    config = tmp_path / "flatrun.yml"
    config.write_text(f"deployments_path: {tmp_path / 'deployments'}\n")
    monkeypatch.setattr("flatrun_core.plugins.discover", lambda: of_modules(plugins))

    def run(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(commands.users, arguments, obj=Session(config=config), **options)

    return run


def login(house: Any, name: str, password: str) -> int:
    answer = house.admin.post("/api/auth/login", json={"username": name, "password": password})
    return int(answer.status_code)


def failed(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output
    assert all(word in result.stderr for word in words), result.stderr


# --- list --------------------------------------------------------------------------------------


def test_list_is_a_table_and_json_when_asked(house: Any, run: Run) -> None:
    house.user("admin", "admin")
    house.user("jane", active=False)
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["ID", "NAME", "ROLE", "ACTIVE", "SECOND", "FACTOR", "LAST", "LOGIN", "EMAIL"]
    assert [line.split() for line in lines[1:]] == [
        ["1", "admin", "admin", "yes", "no", "-", "-"],
        ["2", "jane", "operator", "no", "no", "-", "-"],
    ]
    [first, second] = json.loads(run("list", "--json").stdout)
    assert first == {
        "id": 1,
        "username": "admin",
        "email": "",
        "role": "admin",
        "is_active": True,
        "has_totp": False,
        "last_login_at": None,
    }
    assert second["is_active"] is False


def test_a_list_shows_when_somebody_was_there_last(house: Any, run: Run) -> None:
    house.user("jane")
    assert login(house, "jane", CURRENT) == 200
    assert run("list").stdout.splitlines()[1].split()[5:7] != ["-", "-"]


def test_times_in_json_are_those_of_the_api(house: Any, run: Run) -> None:
    house.user("jane")
    assert login(house, "jane", CURRENT) == 200
    [user] = house.admin.get("/api/users").get_json()["users"]
    [listed] = json.loads(run("list", "--json").stdout)
    reset = json.loads(run("reset-password", "jane", "--generate", "--json").stdout)
    for account in (listed, reset["account"]):
        assert account["last_login_at"] == user["last_login_at"]
        assert re.fullmatch(r"[0-9-]{10}T[0-9:.]+Z", account["last_login_at"])


# --- reset-password ----------------------------------------------------------------------------


def test_a_password_from_stdin_is_set_while_the_panel_runs(house: Any, run: Run, notebook: Any) -> None:
    number = house.user("jane")
    session = house.session(number)
    key = house.key(session)
    result = run("reset-password", "JANE", "--stdin", input="a new password\nand more\n")
    assert (result.exit_code, result.stdout) == (0, "jane: new password set; 1 session ended\n")
    assert session.get("/api/users/me").status_code == 401
    assert key.get("/api/users/me").status_code == 200
    assert login(house, "jane", CURRENT) == 401
    assert login(house, "jane", "a new password") == 200
    [event] = notebook.events
    assert (event.action, event.resource_type, event.resource_id) == (
        "users.reset_password",
        "user",
        str(number),
    )
    assert event.actor == Actor("system", "flatrun users", "flatrun users")
    assert event.metadata == {"username": "jane"}
    assert "a new password" not in str(notebook.events) + result.output


def test_a_generated_password_is_printed_once_and_works(house: Any, run: Run) -> None:
    house.user("jane")
    result = run("reset-password", "jane", "--generate")
    password = result.stdout.splitlines()[1].removeprefix("Password: ")
    assert result.output.count(password) == 1
    assert len(password) >= 24
    assert login(house, "jane", password) == 200
    shown = json.loads(run("reset-password", "jane", "--generate", "--json").stdout)
    assert login(house, "jane", shown["password"]) == 200
    assert (shown["account"]["username"], shown["created"]) == ("jane", False)


def test_on_a_terminal_it_is_asked_for_twice_and_not_shown(
    house: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.user("jane")
    monkeypatch.setattr(commands, "at_terminal", lambda: True)
    result = run("reset-password", "jane", input="a new password\nanother\nthe new one\nthe new one\n")
    assert result.exit_code == 0
    assert "the new one" not in result.output
    assert login(house, "jane", "the new one") == 200


def test_where_nobody_can_be_asked_a_way_must_be_named(house: Any, run: Run) -> None:
    house.user("jane")
    result = run("reset-password", "jane", input="a new password\n")
    assert result.exit_code == 2
    assert "--generate" in result.stderr
    assert run("reset-password", "jane", "--generate", "--stdin").exit_code == 2
    assert login(house, "jane", CURRENT) == 200


@pytest.mark.parametrize("given", ["short\n", "", "x" * 257 + "\n"])
def test_a_weak_password_changes_nothing(house: Any, run: Run, notebook: Any, given: str) -> None:
    house.user("jane")
    failed(run("reset-password", "jane", "--stdin", input=given), "8 to 256")
    assert login(house, "jane", CURRENT) == 200
    assert notebook.events == []


def test_a_password_that_is_no_text_is_refused(house: Any, run: Run) -> None:
    house.user("jane")
    result = run("reset-password", "jane", "--stdin", input=b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\n")
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr
    assert login(house, "jane", CURRENT) == 200


def test_a_name_that_nobody_has_is_said_so(house: Any, run: Run, notebook: Any) -> None:
    house.user("admin", "admin")
    failed(run("reset-password", "nobody", "--generate"), "nobody")
    failed(run("unlock", "nobody"), "nobody")
    failed(run("reset-totp", "nobody"), "nobody")
    assert notebook.events == []
    assert len(house.accounts.all()) == 1


def test_a_deactivated_account_stays_so_until_told_otherwise(house: Any, run: Run, notebook: Any) -> None:
    house.user("admin", "admin")
    house.user("jane", active=False)
    result = run("reset-password", "jane", "--stdin", input="a new password\n")
    assert "deactivated" in result.stderr
    assert login(house, "jane", "a new password") == 401
    result = run("reset-password", "jane", "--stdin", "--activate", input="a new password\n")
    assert "revived" in result.stdout
    assert result.stderr == ""
    assert login(house, "jane", "a new password") == 200
    assert notebook.events[-1].metadata == {"username": "jane", "activated": True}


def test_with_no_administrator_left_one_can_be_made_of_anybody(house: Any, run: Run, notebook: Any) -> None:
    house.user("boss", "admin", active=False)
    house.user("jane", "viewer")
    result = run("reset-password", "jane", "--stdin", input="a new password\n")
    assert "there is no active administrator" in result.stderr
    assert house.row(2).role == "viewer"
    result = run("reset-password", "jane", "--stdin", "--admin", input="a new password\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert house.row(2).role == "admin"
    assert notebook.events[-1].metadata == {"username": "jane", "promoted": True}


def test_with_no_administrator_left_a_new_name_becomes_one(house: Any, run: Run, notebook: Any) -> None:
    house.user("boss", "admin", active=False)
    failed(run("reset-password", "a b", "--generate"), "letters")
    result = run("reset-password", "rescue", "--stdin", input="a new password\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert login(house, "rescue", "a new password") == 200
    assert house.row(2).role == "admin"
    assert notebook.events[-1].metadata == {"username": "rescue", "created": True}


def test_a_reset_lets_in_who_was_locked_out_by_wrong_passwords(house: Any, run: Run) -> None:
    house.user("jane")
    assert [login(house, "jane", "a guess") for _ in range(6)][-1] == 429
    run("reset-password", "jane", "--stdin", input="a new password\n")
    assert login(house, "jane", "a new password") == 200


def test_what_cannot_be_recorded_is_not_done(
    house: Any, run: Run, notebook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = house.user("jane")
    before = house.row(number)
    session = house.session(number)

    def refuse(event: Any) -> None:
        raise Failed("The audit is full", code="AUDIT_FAILED")

    monkeypatch.setattr(notebook, "note", refuse)
    failed(run("reset-password", "jane", "--generate"), "The audit is full")
    failed(run("unlock", "jane"), "The audit is full")
    failed(run("reset-totp", "jane"), "The audit is full")
    assert house.row(number).password_hash == before.password_hash
    assert session.get("/api/users/me").status_code == 200


# --- unlock and reset-totp ---------------------------------------------------------------------


def test_unlock_forgets_the_failures_of_one_name(house: Any, run: Run, notebook: Any) -> None:
    number = house.user("jane")
    house.user("john")
    for name in ("jane", "john"):
        assert [login(house, name, "a guess") for _ in range(6)][-1] == 429
    result = run("unlock", "Jane")
    assert (result.exit_code, result.stdout) == (0, "Jane: 5 failed logins forgotten\n")
    assert login(house, "jane", CURRENT) == 200
    assert login(house, "john", CURRENT) == 429
    [event] = notebook.events
    assert (event.action, event.resource_id, event.metadata) == (
        "users.unlock",
        str(number),
        {"username": "jane", "failures": 5},
    )
    assert json.loads(run("unlock", "jane", "--json").stdout) == {"failures": 0}
    with house.panel.database.session():
        assert LoginAttempt.select().count() == 5


def test_reset_totp_takes_the_second_factor_away(house: Any, run: Run, notebook: Any) -> None:
    number = house.user("jane")
    session = house.session(number)
    secret = session.post("/api/users/me/totp").get_json()["secret"]
    code = pyotp.TOTP(secret).now()
    assert session.post("/api/users/me/totp/confirm", json={"code": code}).status_code == 200
    result = run("reset-totp", "jane")
    assert (result.exit_code, result.stdout) == (0, "jane: second factor taken away\n")
    assert house.row(number).totp_secret is None
    assert session.get("/api/users/me").status_code == 401
    assert notebook.events[-1].action == "users.reset_totp"
    assert json.loads(run("reset-totp", "jane", "--json").stdout) == {"had_totp": False}


# --- where there is no panel -------------------------------------------------------------------

COMMANDS = [
    ("list",),
    ("reset-password", "admin", "--generate"),
    ("unlock", "admin"),
    ("reset-totp", "admin"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_without_a_database_a_sentence_says_so_and_nothing_is_made(
    run_without_a_panel: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    failed(run_without_a_panel(*command), "there is no database yet")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_older_database_is_left_as_it_is(
    house: Any, run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    house.user("admin", "admin")
    database = tmp_path / "deployments" / ".flatrun" / "flatrun.db"
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM users_schema_migration")
    connection.close()
    failed(run(*command), "older than the program", "flatrun migrate")
    assert login(house, "admin", CURRENT) == 200


def test_a_plugin_that_does_not_start_is_named(house: Any, run: Run, tmp_path: Path) -> None:
    with (tmp_path / "flatrun.yml").open("a") as config:
        config.write("plugins: {disabled: [users]}\n")
    failed(run("list"), "the plugin users does not start")
