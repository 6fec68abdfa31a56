"""A store over a file of settings, and what was applied."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import fields
from flatrun_core.errors import FlatrunError
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.settings import Note, SettingsChange, SettingsGroup
from flatrun_core.settings import CORE_GROUPS, SettingsSource, SettingsStore

FILE = """\
# Written by hand
deployments_path: /srv/sites # keep

api:
  port: 8081 # not the usual one

# of a plugin that is not here
traffic:
  retention_days: 7

database_group:
  wait: 7d # a week
  root_password: old
"""


@dataclass(frozen=True)
class Database:
    enabled: bool = False
    port: int = 3306
    wait: timedelta = timedelta(seconds=30)
    domain: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    root_user: str = ""
    root_password: str = field(default="", repr=False)


def about(text: str = "x.") -> dict[str, str]:
    return {"description": text}


class DatabaseSchema(fields.SettingsSchema):
    dataclass = Database
    enabled = fields.Boolean(metadata=about())
    port = fields.Port(metadata=about())
    wait = fields.Duration(metadata=about())
    domain = fields.HostName(blank=True, metadata=about())
    labels = fields.Dict(fields.String(), fields.String(), metadata=about())
    root_user = fields.String(load_only=True, metadata=about())
    root_password = fields.Secret(
        flag="has_password", validate=fields.Length(max=20, error="{input} is too long"), metadata=about()
    )

    @fields.validates_schema
    def _fits(self, data: Any, **_: Any) -> None:
        if data["enabled"] and data["port"] == 1:
            raise fields.ValidationError("Port 1 does not go with enabled.")


GROUPS = (*CORE_GROUPS, SettingsGroup("database_group", DatabaseSchema), SettingsGroup("a.b", DatabaseSchema))


@dataclass
class Panel:
    """A store over a file, and what was applied."""

    path: Path
    environ: dict[str, str] = field(default_factory=dict)
    refuse: Callable[[SettingsChange], None] = lambda change: None
    applied: list[SettingsChange] = field(default_factory=list)

    def __post_init__(self) -> None:
        source = SettingsSource.read(self.path, self.environ)
        self.store = SettingsStore(source, GROUPS, LockTable(), self._apply)

    def _apply(self, change: SettingsChange) -> list[Note]:
        self.applied.append(change)
        self.refuse(change)
        return [Note("proxy", {"reloaded": True})]

    def put(self, **body: Any) -> Any:
        return self.store.change(body, SYSTEM)

    @property
    def text(self) -> str:
        return self.path.read_text()

    def refused(self, kind: type[FlatrunError], code: str, **body: Any) -> str:
        """The text of a refusal after which nothing has changed."""
        before, snapshot, seen = self.path.read_bytes(), self.store.snapshot, len(self.applied)
        with pytest.raises(kind) as caught:
            self.store.change(body, SYSTEM)
        assert caught.value.code == code
        assert self.path.read_bytes() == before
        assert self.store.snapshot is snapshot
        assert len(self.applied) == seen
        assert [path.name for path in self.path.resolve().parent.iterdir()] == ["flatrun.yml"]
        return caught.value.message


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    path = tmp_path / "flatrun.yml"
    path.write_text(FILE)
    return Panel(path)


@pytest.fixture
def panel_at() -> type[Panel]:
    """Return what makes a store of a path and, if need be, variables of the environment."""
    return Panel


@pytest.fixture
def original() -> str:
    """Return the text of the file before any change."""
    return FILE


@pytest.fixture
def groups() -> tuple[SettingsGroup, ...]:
    """Return the groups of settings that the store knows."""
    return GROUPS
