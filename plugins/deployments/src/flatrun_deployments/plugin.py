"""Deployments: folders with a compose file, and what runs of them."""

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from flatrun_core import HOOK_API, Blueprint, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.auth import Permission
from flatrun_core.ports.deployments import DEPLOYMENTS, RECIPES, Runtime
from flatrun_core.ports.docker import COMPOSE
from flatrun_core.ports.settings import SettingsGroup
from flatrun_deployments import blueprint, containers, hookspecs, log_stream, statistics
from flatrun_deployments.containers_blueprint import blp as containers_blp
from flatrun_deployments.life import (
    flatrun_apply_settings,
    flatrun_on_serve,
    flatrun_on_shutdown,
    flatrun_register_checks,
)
from flatrun_deployments.logs_blueprint import blp as logs_blp
from flatrun_deployments.permissions import PERMISSIONS
from flatrun_deployments.recipes import RECIPE_BOOK, RecipeBook, collect_recipes
from flatrun_deployments.runtime import ComposeRuntime
from flatrun_deployments.service import SERVICE, DeploymentService, collect_runtimes
from flatrun_deployments.settings import GROUPS

if TYPE_CHECKING:
    import click

__all__ = [
    "flatrun_apply_settings",
    "flatrun_on_serve",
    "flatrun_on_shutdown",
    "flatrun_register_checks",
]

PLUGIN = PluginInfo(
    slug="deployments",
    hook_api=HOOK_API,
    display_name="Deployments",
    type="deployment",
    category="deployments",
    uses=("domains", "templates", "databases", "registries"),
    sections=("infrastructure",),
    prefixes=("containers", "plugins"),
    permissions=("containers", "templates"),
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer deployments, recipes, logs and statistics."""
    services = ctx.services
    services.provide(SERVICE, lambda: DeploymentService(ctx, collect_runtimes(ctx)))
    services.provide(DEPLOYMENTS, lambda: services.get(SERVICE))
    services.provide(RECIPE_BOOK, lambda: RecipeBook(ctx, collect_recipes(ctx), services.get(DEPLOYMENTS)))
    services.provide(RECIPES, lambda: services.get(RECIPE_BOOK))
    containers.provide(ctx)
    log_stream.provide(ctx)
    statistics.provide(ctx)


@hookimpl
def flatrun_register_hookspecs() -> Sequence[ModuleType]:
    """The life of a deployment."""
    return [hookspecs]


@hookimpl
def flatrun_register_blueprints() -> Sequence[Blueprint]:
    """Deployments, recipes, logs and statistics, containers."""
    return [blueprint.blp, blueprint.recipes_blp, logs_blp, containers_blp]


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The runtime, and the names of shared networks."""
    return GROUPS


@hookimpl
def flatrun_register_permissions() -> Sequence[Permission]:
    """Deployments and containers; templates for what recipes make."""
    return PERMISSIONS


@hookimpl(optionalhook=True)
def flatrun_register_runtimes(ctx: PluginContext) -> Sequence[Runtime]:
    """Docker Compose."""
    return [ComposeRuntime(ctx.services.get(COMPOSE))]


@hookimpl
def flatrun_register_commands() -> "Sequence[click.Command]":
    """``flatrun deployments``."""
    # Only the command line needs it, and it must not slow the panel's start.
    from flatrun_deployments.commands import deployments  # noqa: PLC0415

    return [deployments]
