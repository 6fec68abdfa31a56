"""A panel put together to be looked at, not to serve."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that `flatrun` starts at once

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flatrun_core.cli.session import Session

if TYPE_CHECKING:
    from flatrun_core.db import PanelDatabase
    from flatrun_core.panel import Panel
    from flatrun_core.settings import Snapshot


@contextmanager
def assembled(session: Session, *, own_database: bool = False) -> "Iterator[Panel]":
    """The configured panel, with a throw-away database unless it is to use its own.

    So that looking changes nothing: neither makes the file nor gives it to another user.
    Raises ``StartupError``, also for what nobody foresaw.
    """
    from flatrun_core.app import create_app
    from flatrun_core.errors import StartupError
    from flatrun_core.storage import sqlite_url

    with tempfile.TemporaryDirectory(prefix="flatrun-") as folder:
        instead = {} if own_database else {"database": sqlite_url(Path(folder, "panel.db"))}
        try:
            panel: Panel = create_app(session.read_source(instead), strict=False).extensions["flatrun"]
        except StartupError:
            raise
        except Exception as exc:
            raise StartupError(f"{type(exc).__name__}: {exc}") from exc
        try:
            yield panel
        finally:
            panel.database.close()


def open_own_database(panel: "Panel") -> "PanelDatabase":
    """The database the configuration names, for an assembled panel that uses another one."""
    from flatrun_core.db import open_database
    from flatrun_core.settings import CORE_GROUPS

    settings = replace(panel.source, overrides={}).load(CORE_GROUPS, partial=True)
    backends = panel.hooks.register("flatrun_register_storage_backends")
    return open_database(_database_url(settings), [backend for _, backend in backends])


def database_is_there(settings: "Snapshot") -> bool:
    """Whether the panel's own database exists, as far as can be told without opening it."""
    from flatrun_core.storage import sqlite_path

    url = _database_url(settings)
    return not url.startswith("sqlite:") or sqlite_path(url).exists()


def _database_url(settings: "Snapshot") -> str:
    from flatrun_core.app import STATE_FOLDER
    from flatrun_core.settings import PanelSettings
    from flatrun_core.storage import sqlite_url

    panel = settings.of(PanelSettings)
    return panel.database or sqlite_url(panel.deployments_path / STATE_FOLDER / "flatrun.db")
