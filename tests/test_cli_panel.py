"""``Session.panel``: the configured panel for a command on the host, and whose files it leaves."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from flatrun_core.app import create_app
from flatrun_core.cli import Session
from flatrun_core.disk import give_to_owner_of
from flatrun_core.errors import NotFound
from flatrun_core.ports.auth import PERMISSIONS
from flatrun_core.ports.storage import DATABASE
from flatrun_core.settings import SettingsSource

Look = Callable[[], Result]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of a panel without plugins."""
    for name in [name for name in os.environ if name.startswith("FLATRUN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("flatrun_core.plugins.discover", lambda: [])
    file = tmp_path / "flatrun.yml"
    file.write_text(f"deployments_path: {tmp_path / 'deployments'}\n")
    return file


@pytest.fixture
def database(config: Path) -> Path:
    """The file of that panel, which was started once."""
    app = create_app(SettingsSource.read(config, {}, {}))
    app.extensions["flatrun"].database.close()
    return config.parent / "deployments" / ".flatrun" / "flatrun.db"


@pytest.fixture
def look(config: Path) -> Look:
    """Run a command that opens the panel's database."""
    session = Session(config=config)

    @click.command()
    def open_it() -> None:
        with session.panel() as services:
            assert services.get(PERMISSIONS).known() is not None
            with services.get(DATABASE).session() as _:
                click.echo("looked")

    return lambda: CliRunner().invoke(open_it)


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: "), result.output
    assert all(word in result.stderr for word in words), result.stderr


def test_a_command_gets_the_services_on_the_panels_own_database(database: Path, look: Look) -> None:
    result = look()
    assert (result.exit_code, result.output) == (0, "looked\n")
    assert database.exists()


def test_without_a_database_nothing_is_made(config: Path, look: Look) -> None:
    refused(look(), "there is no database yet")
    assert [path.name for path in config.parent.iterdir()] == ["flatrun.yml"]


def test_an_empty_file_is_no_database(config: Path, look: Look) -> None:
    folder = config.parent / "deployments" / ".flatrun"
    folder.mkdir(parents=True)
    (folder / "flatrun.db").touch()
    refused(look(), "there is no database yet")
    assert (folder / "flatrun.db").stat().st_size == 0


def test_an_older_database_is_left_to_the_migration(database: Path, look: Look) -> None:
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM core_schema_migration")
    connection.commit()
    connection.close()
    refused(look(), "older than the program", "flatrun migrate")


def test_what_is_no_database_is_said_so(database: Path, look: Look) -> None:
    for path in database.parent.glob("flatrun.db-*"):
        path.unlink()
    database.write_bytes(b"no database at all\n" * 100)
    refused(look(), "no SQLite database")


def test_a_wrong_configuration_is_said_so(database: Path, config: Path, look: Look) -> None:
    with config.open("a") as file:
        file.write("api: {port: ninety}\n")
    refused(look(), "api.port")


def test_an_error_of_the_command_is_a_sentence(database: Path, config: Path) -> None:
    @click.command()
    def fail() -> None:
        with Session(config=config).panel():
            raise NotFound("There is no such thing")

    result = CliRunner().invoke(fail)
    assert (result.exit_code, result.stderr) == (1, "Error: There is no such thing\n")


# --- whose the files are -----------------------------------------------------------------------


@pytest.fixture
def root_acts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Let this process pass for root; what is given to whom is kept, and not done."""
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        os, "fchown", lambda handle, user, group: given.append((os.fstat(handle).st_ino, user, group))
    )
    return given


def test_what_root_makes_beside_the_database_is_given_to_the_owner_of_its_folder(
    database: Path, look: Look, root_acts: list[tuple[Any, ...]]
) -> None:
    lock = database.with_name("flatrun.db.lock")
    look()
    assert root_acts == [], "what was there is not touched"
    lock.unlink()
    assert look().exit_code == 0
    owner = database.parent.stat()
    assert root_acts == [(lock.stat().st_ino, owner.st_uid, owner.st_gid)]


def test_somebody_else_gives_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("only root may give files away")

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "fchown", refuse)
    with (tmp_path / "file").open("w") as file:
        give_to_owner_of(tmp_path, file.fileno())
