"""A panel put together to be looked at, not to serve."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that `flatrun` starts at once

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flatrun_core.cli.session import Session
    from flatrun_core.db import PanelDatabase
    from flatrun_core.panel import Panel
    from flatrun_core.settings import Snapshot


@contextmanager
def assembled(session: "Session", *, own_database: bool = False) -> "Iterator[Panel]":
    """The configured panel, with a throw-away database unless it is to use its own.

    So that looking changes nothing: neither makes the file nor gives it to another user.
    Raises ``StartupError``, also for what nobody foresaw.
    """
    from flatrun_core.app import create_app
    from flatrun_core.errors import StartupError
    from flatrun_core.storage import sqlite_url

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="flatrun-"))
        instead = {} if own_database else {"database": sqlite_url(Path(folder, "panel.db"))}
        try:
            panel: Panel = create_app(session.read_source(instead), strict=False).extensions["flatrun"]
        except StartupError:
            raise
        except Exception as exc:
            raise StartupError(f"{type(exc).__name__}: {exc}") from exc
        stack.callback(panel.database.close)
        yield panel


@contextmanager
def existing_panel(session: "Session") -> "Iterator[Panel]":
    """The configured panel with its own database, which a start has made before.

    Raises ``StartupError`` where there is none; neither makes it nor brings it up to date.
    """
    from flatrun_core.errors import StartupError

    try:
        if not database_is_there(session.settings):
            raise StartupError("there is no database yet; the first start of the panel makes it")
        if _sqlite_file(session.settings) is None:
            _refuse_empty(session)
    except OSError as exc:
        raise StartupError(f"the database cannot be used: {exc.strerror}: {exc.filename}") from exc
    with assembled(session, own_database=True) as panel:
        yield panel


def _refuse_empty(session: "Session") -> None:
    """A server's database without a table: what a start would make, a command leaves alone."""
    from flatrun_core.errors import StartupError, Unavailable

    with assembled(session) as panel:
        database = open_own_database(panel)
        try:
            empty = database.is_empty()
        except Unavailable as exc:
            raise StartupError(str(exc)) from exc
        finally:
            database.close()
    if empty:
        raise StartupError("the database has no tables yet; the first start of the panel makes them")


def open_own_database(panel: "Panel") -> "PanelDatabase":
    """The database the configuration names, for an assembled panel that uses another one."""
    from flatrun_core.db import open_database
    from flatrun_core.settings import CORE_GROUPS

    settings = replace(panel.source, overrides={}).load(CORE_GROUPS, partial=True)
    backends = panel.hooks.register("flatrun_register_storage_backends")
    return open_database(_database_url(settings), [backend for _, backend in backends])


def database_is_there(settings: "Snapshot") -> bool:
    """Whether the panel's own database exists, as far as can be told without opening it."""
    file = _sqlite_file(settings)
    return file is None or (file.exists() and file.stat().st_size > 0)


def _sqlite_file(settings: "Snapshot") -> Path | None:
    from flatrun_core.storage import sqlite_path

    url = _database_url(settings)
    return sqlite_path(url) if url.startswith("sqlite:") else None


def _database_url(settings: "Snapshot") -> str:
    from flatrun_core.app import STATE_FOLDER
    from flatrun_core.settings import PanelSettings
    from flatrun_core.storage import sqlite_url

    panel = settings.of(PanelSettings)
    return panel.database or sqlite_url(panel.deployments_path / STATE_FOLDER / "flatrun.db")
