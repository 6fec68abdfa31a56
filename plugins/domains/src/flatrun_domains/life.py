"""Hooks of the life of a deployment and of the panel, which ``plugin`` has too: they are looked for there."""

from collections.abc import Sequence

from flatrun_core import Check, PluginContext, hookimpl
from flatrun_core.ports.auth import Permission
from flatrun_core.ports.deployments import DeploymentEvent, Draft, Part, Removal, RemovedItem
from flatrun_domains import checks
from flatrun_domains.following import FOLLOWER
from flatrun_domains.joins import JOINS
from flatrun_domains.permissions import PERMISSIONS


@hookimpl
def flatrun_on_shutdown(ctx: PluginContext) -> None:
    """Let what runs in the background end."""
    ctx.services.get(FOLLOWER).stop()


@hookimpl
def flatrun_register_checks(ctx: PluginContext) -> Sequence[Check]:
    """What is not served."""
    return checks.checks(ctx)


@hookimpl
def flatrun_register_permissions() -> Sequence[Permission]:
    """Certificates."""
    return PERMISSIONS


@hookimpl(optionalhook=True)
def flatrun_join_deployment_create(ctx: PluginContext, draft: Draft) -> Part:
    """A host has one deployment."""
    return ctx.services.get(JOINS).creation(draft)


@hookimpl(optionalhook=True)
def flatrun_on_deployment_created(ctx: PluginContext, event: DeploymentEvent) -> None:
    """What was held for it is its own."""
    ctx.services.get(JOINS).created(event)


@hookimpl(optionalhook=True)
def flatrun_join_deployment_remove(ctx: PluginContext, removal: Removal) -> Sequence[RemovedItem]:
    """Its site goes with it, and its certificates."""
    return ctx.services.get(JOINS).removal(removal)


@hookimpl(optionalhook=True)
def flatrun_on_deployment_removed(ctx: PluginContext, event: DeploymentEvent) -> None:
    """Nothing of it is remembered."""
    ctx.services.get(JOINS).removed(event)
