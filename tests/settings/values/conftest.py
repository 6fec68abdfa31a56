"""Settings read from a text, variables and the command line."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from flatrun_core import fields
from flatrun_core.ports.settings import SettingsGroup
from flatrun_core.settings import CORE_GROUPS, SettingsError, SettingsSource, Snapshot


@dataclass(frozen=True)
class Database:
    enabled: bool = False
    port: int = 3306
    wait: timedelta = timedelta(seconds=30)
    root_user: str = ""
    root_password: str = field(default="", repr=False)


class DatabaseSchema(fields.SettingsSchema):
    dataclass = Database
    enabled = fields.Boolean(metadata={"description": "On."})
    port = fields.Port(metadata={"description": "Port | of it."})
    wait = fields.Duration(metadata={"description": "How long."})
    root_user = fields.String(load_only=True, metadata={"description": "Administrator."})
    root_password = fields.Secret(
        flag="has_password",
        validate=fields.Length(max=8, error="{input} is too long"),
        metadata={"description": "Password."},
    )


@dataclass(frozen=True)
class Networks:
    default_proxy_network: str = "proxy"


class NetworksSchema(fields.SettingsSchema):
    dataclass = Networks
    default_proxy_network = fields.ContainerName(metadata={"description": "Network."})


GROUPS = (
    *CORE_GROUPS,
    SettingsGroup("infrastructure", NetworksSchema),
    SettingsGroup("infrastructure.database", DatabaseSchema),
)


def loaded(text: str = "", environ: dict[str, str] | None = None, **given: Any) -> Snapshot:
    data = source_of(text, environ, given.pop("overrides", None))
    return data.load(given.pop("groups", GROUPS), **given)


def source_of(
    text: str = "", environ: dict[str, str] | None = None, overrides: dict[str, Any] | None = None
) -> SettingsSource:
    read = SettingsSource.read(None, environ or {}, overrides)
    return dataclasses.replace(read, text=text, data=fields_of(text))


def fields_of(text: str) -> dict[str, Any]:
    from flatrun_core.settings_file import parse

    return parse(text)


def problems_of(text: str = "", environ: dict[str, str] | None = None, **given: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(text, environ, **given)
    return caught.value.problems


@pytest.fixture
def load() -> Callable[..., Snapshot]:
    """Return a function that loads settings of a text, variables and overrides."""
    return loaded


@pytest.fixture
def source() -> Callable[..., SettingsSource]:
    """Return a function that makes a source of a text, variables and overrides."""
    return source_of


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """Return a function that loads what cannot be loaded, and returns the problems."""
    return problems_of


@pytest.fixture(scope="session")
def groups() -> tuple[SettingsGroup, ...]:
    """Return the groups of the core and two of a plugin."""
    return GROUPS


@pytest.fixture
def database_type() -> type[Database]:
    """Return the type of the settings ``infrastructure.database``."""
    return Database


@pytest.fixture
def networks_type() -> type[Networks]:
    """Return the type of the settings ``infrastructure``."""
    return Networks
