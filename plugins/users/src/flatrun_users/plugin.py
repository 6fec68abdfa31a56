"""Users: accounts, sessions, API keys, and who may touch which deployment."""

from collections.abc import Sequence

from flatrun_core import HOOK_API, Blueprint, Check, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.auth import Access, Credentials, Identity, Permission
from flatrun_core.ports.deployments import Draft, Part, Removal, RemovedItem
from flatrun_core.ports.scheduling import Timer
from flatrun_core.ports.settings import SettingsGroup
from flatrun_users import authentication, blueprints, bootstrap, checks, grants, models, permissions, timers
from flatrun_users.offers import commands, offer_all
from flatrun_users.settings import UsersSettingsSchema

PLUGIN = PluginInfo(
    slug="users",
    hook_api=HOOK_API,
    display_name="Users",
    category="identity",
    uses=("deployments",),
    prefixes=("auth", "apikeys", "deployments"),
    permissions=permissions.PREFIXES,
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer the services."""
    offer_all(ctx)


@hookimpl
def flatrun_on_serve(ctx: PluginContext) -> None:
    """Make the first administrator."""
    bootstrap.bootstrap(ctx)


@hookimpl
def flatrun_authenticate(ctx: PluginContext, credentials: Credentials) -> Identity | None:
    """Tokens of logins, and API keys."""
    return ctx.services.get(authentication.AUTHENTICATION).identify(credentials)


@hookimpl
def flatrun_authorize(identity: Identity, access: Access, method: str) -> None:
    """Who must set up a second factor does that first."""
    authentication.authorise(identity, access, method)


@hookimpl
def flatrun_register_timers(ctx: PluginContext) -> Sequence[Timer]:
    """Sessions and failed logins are forgotten."""
    return timers.timers(ctx)


@hookimpl
def flatrun_register_blueprints() -> Sequence[Blueprint]:
    """Logins, accounts, access, keys."""
    return blueprints.ALL


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The group ``users``."""
    return [SettingsGroup("users", UsersSettingsSchema)]


@hookimpl
def flatrun_register_permissions() -> Sequence[Permission]:
    """Every permission of the panel's own resources."""
    return permissions.PERMISSIONS


@hookimpl
def flatrun_register_models() -> Sequence[type[object]]:
    """Accounts, keys, sessions, access, recovery codes and login attempts."""
    return models.ALL


@hookimpl(optionalhook=True)
def flatrun_join_deployment_create(ctx: PluginContext, draft: Draft) -> Part:
    """A new deployment is its maker's, and nobody's of before."""
    return ctx.services.get(grants.GRANTS).join_creation(draft)


@hookimpl(optionalhook=True)
def flatrun_join_deployment_remove(ctx: PluginContext, removal: Removal) -> Sequence[RemovedItem]:
    """Nobody keeps access to what is gone."""
    return ctx.services.get(grants.GRANTS).join_removal(removal)


@hookimpl
def flatrun_register_commands() -> Sequence[object]:
    """``flatrun users``; loaded for the command line only, as it must not slow the panel's start."""
    return commands()


@hookimpl
def flatrun_register_checks(ctx: PluginContext) -> Sequence[Check]:
    """Whether there is an administrator."""
    return checks.checks(ctx)
