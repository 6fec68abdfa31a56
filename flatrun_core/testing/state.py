"""What a panel holds, to tell whether a request changed anything and to put it back."""

import sqlite3
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flask import Flask

from flatrun_core.testing.fake_engine import FakeEngine

# What a panel notes of a request whatever becomes of it.
NOTES: Final = frozenset({"last_used_at", "last_used_ip", "last_seen_at"})
_STATE: Final = ".flatrun"


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows by table, files by path, and the Engine, as they were at one moment."""

    rows: dict[str, list[tuple[Any, ...]]]
    files: dict[str, bytes | None]  # None for a folder
    engine: object = field(repr=False)
    seen: dict[str, object] = field(repr=False)


class PanelState:
    """Looks at the database, a folder and the Engine of one application.

    For SQLite and ``FakeEngine``; the panel's own ``.flatrun`` is not looked at. Tables that begin
    with one of ``apart`` are neither looked at nor put back, a record of requests for one. ``more``
    are further things to compare, by name. Used from one thread, and closed by it.
    """

    def __init__(
        self,
        app: Flask,
        engine: FakeEngine,
        folder: Path,
        *,
        apart: Collection[str] = (),
        more: Mapping[str, Callable[[], object]] | None = None,
    ) -> None:
        self._engine = engine
        self._root = folder
        self._more = dict(more or {})
        file = app.extensions["flatrun"].state_folder / "flatrun.db"
        self.database = sqlite3.connect(file, isolation_level=None, timeout=10)
        names = self.database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        every = [name for (name,) in names if not name.startswith("sqlite_")]
        self._columns = {
            name: [column[1] for column in self.database.execute(f'PRAGMA table_info("{name}")')]
            for name in sorted(every)
            if not name.startswith(tuple(apart))
        }

    def picture(self) -> Picture:
        """Everything as it is now."""
        rows = {
            name: self.database.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall()  # noqa: S608
            for name in self._columns
        }
        engine = self._engine.snapshot()
        files = self._files()
        seen: dict[str, object] = {name: self._seen(name, found) for name, found in rows.items()}
        seen |= {name: look() for name, look in self._more.items()}
        return Picture(rows, files, engine, {**seen, "files": files, "Docker Engine": repr(engine)})

    def changes(self, before: Picture) -> list[str]:
        """Names of what is not as it was: tables, ``files``, ``Docker Engine`` and those of ``more``."""
        now = self.picture().seen
        return [name for name in now if now[name] != before.seen[name]]

    def restore(self, before: Picture) -> None:
        """Make everything as it was."""
        changed = self.changes(before)
        if not changed:
            return
        self._engine.restore(before.engine)
        if "files" in changed:
            self._restore_files(before.files)
        self.database.execute("PRAGMA foreign_keys = OFF")
        self.database.execute("BEGIN IMMEDIATE")
        for name in (name for name in changed if name in self._columns):
            marks = ", ".join("?" * len(self._columns[name]))
            self.database.execute(f'DELETE FROM "{name}"')  # noqa: S608
            self.database.executemany(f'INSERT INTO "{name}" VALUES ({marks})', before.rows[name])  # noqa: S608
        self.database.execute("COMMIT")

    def close(self) -> None:
        """Close the look into the database."""
        self.database.close()

    def _seen(self, table: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        kept = [index for index, name in enumerate(self._columns[table]) if name not in NOTES]
        return [tuple(row[index] for index in kept) for row in rows]

    def _files(self) -> dict[str, bytes | None]:
        return {
            str(path.relative_to(self._root)): path.read_bytes() if path.is_file() else None
            for path in sorted(self._root.rglob("*"))
            if _STATE not in path.relative_to(self._root).parts
        }

    def _restore_files(self, files: dict[str, bytes | None]) -> None:
        for name in sorted(self._files().keys() - files.keys(), reverse=True):
            path = self._root / name
            path.rmdir() if path.is_dir() else path.unlink()
        for name, content in files.items():  # a folder comes before what is in it
            path = self._root / name
            if content is None:
                path.mkdir(exist_ok=True)
            elif not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)
