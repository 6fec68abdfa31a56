"""Users: accounts, sessions, API keys, and who may touch which deployment."""

from collections.abc import Sequence

from peewee import Model

from flatrun_core import HOOK_API, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.auth import Permission
from flatrun_core.ports.settings import SettingsGroup
from flatrun_users import models
from flatrun_users.offers import offer_authentication
from flatrun_users.permissions import PERMISSIONS, PREFIXES
from flatrun_users.settings import UsersSettingsSchema

PLUGIN = PluginInfo(
    slug="users",
    hook_api=HOOK_API,
    display_name="Users",
    type="service",
    category="identity",
    uses=("deployments",),
    prefixes=("auth", "apikeys", "deployments"),
    permissions=PREFIXES,
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer the services."""
    offer_authentication(ctx)


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The group ``users``."""
    return [SettingsGroup("users", UsersSettingsSchema)]


@hookimpl
def flatrun_register_permissions() -> Sequence[Permission]:
    """Every permission of the panel's own resources."""
    return PERMISSIONS


@hookimpl
def flatrun_register_models() -> Sequence[type[Model]]:
    """Accounts, keys, sessions, access, recovery codes and login attempts."""
    return models.ALL
