"""The core's own hook implementations: its behaviour goes through the hooks that plugins use."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flatrun_core.api import system
from flatrun_core.api.pipeline import static_key
from flatrun_core.context import PluginContext
from flatrun_core.jobs import JobRow
from flatrun_core.markers import hookimpl
from flatrun_core.ports.auth import Actor, Credentials, Identity, Permission
from flatrun_core.ports.settings import SettingsGroup
from flatrun_core.settings import CORE_GROUPS, AuthSettings
from flatrun_core.storage import PostgresStorage, SqliteStorage

if TYPE_CHECKING:
    from flask_smorest import Blueprint
    from peewee import Model

    from flatrun_core.ports.storage import StorageBackend


@hookimpl
def flatrun_register_blueprints() -> "Sequence[Blueprint]":
    """Health, settings, plugins and the API document."""
    return [system.blp]


@hookimpl
def flatrun_register_models() -> "Sequence[type[Model]]":
    """The table of jobs."""
    return [JobRow]


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The groups every panel has."""
    return CORE_GROUPS


@hookimpl
def flatrun_register_permissions() -> Sequence[Permission]:
    """What the core's own routes require."""
    everyone = ("operator", "viewer")
    return [
        Permission("settings:read", "See the panel's settings", everyone),
        Permission("settings:write", "Change the panel's settings"),
        Permission("templates:read", "See templates and plugins", everyone),
    ]


@hookimpl
def flatrun_register_storage_backends() -> "Sequence[StorageBackend]":
    """SQLite and PostgreSQL."""
    return [SqliteStorage(), PostgresStorage()]


@hookimpl
def flatrun_authenticate(ctx: PluginContext, credentials: Credentials) -> Identity | None:
    """The static keys of ``auth.api_keys`` act as administrator."""
    if credentials.scheme == "none":
        return None
    index = static_key(ctx.settings(AuthSettings).api_keys, credentials.token)
    if index is None:
        return None
    actor = Actor("api_key", f"key_{index}", f"key_{index}")
    return Identity(actor, role="admin", permissions=None, unscoped=True)
