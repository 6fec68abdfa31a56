"""Templates: compose files with placeholders, from which deployments are made."""

from collections.abc import Sequence
from types import ModuleType

from flatrun_core import HOOK_API, Blueprint, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.auth import Permission
from flatrun_core.ports.deployments import TEMPLATES
from flatrun_templates import hookspecs
from flatrun_templates.blueprint import blp
from flatrun_templates.permissions import PERMISSIONS
from flatrun_templates.service import SERVICE, TemplateService
from flatrun_templates.sources import collect_shipped

PLUGIN = PluginInfo(
    slug="templates",
    hook_api=HOOK_API,
    display_name="Templates",
    type="deployment",
    category="deployments",
    uses=("deployments",),
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer templates to views and to whoever creates deployments."""
    ctx.services.provide(SERVICE, lambda: TemplateService(ctx, collect_shipped(ctx)))
    ctx.services.provide(TEMPLATES, lambda: ctx.services.get(SERVICE))


@hookimpl
def flatrun_register_hookspecs() -> Sequence[ModuleType]:
    """Templates of other plugins."""
    return [hookspecs]


@hookimpl
def flatrun_register_blueprints() -> Sequence[Blueprint]:
    """The routes below ``/api/templates``."""
    return [blp]


@hookimpl
def flatrun_register_permissions() -> Sequence[Permission]:
    """Who may see templates and who may refresh them."""
    return PERMISSIONS
