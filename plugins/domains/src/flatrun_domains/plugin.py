"""Domains: the domains of every deployment, routed through the reverse proxy."""

from collections.abc import Sequence
from types import ModuleType

from flatrun_core import HOOK_API, Blueprint, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.proxy import Site
from flatrun_core.ports.scheduling import Timer
from flatrun_core.ports.settings import SettingsChange, SettingsGroup
from flatrun_domains import domains_blueprint, hookspecs, models, offers, proxy_blueprint
from flatrun_domains.following import FOLLOWER
from flatrun_domains.life import (
    flatrun_join_deployment_create,
    flatrun_join_deployment_remove,
    flatrun_on_deployment_created,
    flatrun_on_deployment_removed,
    flatrun_on_shutdown,
    flatrun_register_checks,
    flatrun_register_permissions,
)
from flatrun_domains.registry import REGISTRY
from flatrun_domains.settings import DomainSettingsSchema

__all__ = [
    "flatrun_join_deployment_create",
    "flatrun_join_deployment_remove",
    "flatrun_on_deployment_created",
    "flatrun_on_deployment_removed",
    "flatrun_on_shutdown",
    "flatrun_register_checks",
    "flatrun_register_permissions",
]

PLUGIN = PluginInfo(
    slug="domains",
    hook_api=HOOK_API,
    display_name="Domains",
    category="edge",
    requires=("deployments",),
    uses=("certificates",),
    sections=("domain",),
    prefixes=("deployments", "proxy", "subdomain"),
    permissions=("certificates",),
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer routes."""
    offers.offer_all(ctx)


@hookimpl
def flatrun_on_serve(ctx: PluginContext) -> None:
    """Apply what is to be served, beside the start."""
    ctx.services.get(FOLLOWER).start()


@hookimpl
def flatrun_register_hookspecs() -> Sequence[ModuleType]:
    """Changed domains."""
    return [hookspecs]


@hookimpl
def flatrun_register_blueprints() -> Sequence[Blueprint]:
    """Domains, the proxy, generated names."""
    return [domains_blueprint.blp, proxy_blueprint.blp, proxy_blueprint.subdomain_blp]


@hookimpl
def flatrun_register_models() -> Sequence[type[object]]:
    """What was served last."""
    return models.ALL


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The group ``domain``."""
    return [SettingsGroup("domain", DomainSettingsSchema)]


@hookimpl
def flatrun_apply_settings(ctx: PluginContext, change: SettingsChange) -> None:
    """The panel's own domain."""
    ctx.services.get(FOLLOWER).settings_changed(change)


@hookimpl
def flatrun_register_timers(ctx: PluginContext) -> Sequence[Timer]:
    """Edits by hand."""
    return offers.timers(ctx)


@hookimpl
def flatrun_gather_sites(ctx: PluginContext) -> Sequence[Site]:
    """The sites of every deployment, and the panel's own."""
    return ctx.services.get(REGISTRY).gather()
