"""Hooks of the panel's life, which ``plugin`` has too: they are looked for there."""

from collections.abc import Sequence

from flatrun_core import Check, PluginContext, hookimpl
from flatrun_core.ports.settings import SettingsChange
from flatrun_deployments.checks import checks
from flatrun_deployments.service import SERVICE


@hookimpl
def flatrun_on_serve(ctx: PluginContext) -> None:
    """Repair what a crash left, and look after the proxy network."""
    ctx.services.get(SERVICE).serve()


@hookimpl
def flatrun_on_shutdown(ctx: PluginContext) -> None:
    """Stop looking."""
    ctx.services.get(SERVICE).shutdown()


@hookimpl
def flatrun_apply_settings(ctx: PluginContext, change: SettingsChange) -> None:
    """Containers follow the proxy to another network."""
    ctx.services.get(SERVICE).settings_changed(change)


@hookimpl
def flatrun_register_checks(ctx: PluginContext) -> Sequence[Check]:
    """Names on the proxy's network."""
    return checks(ctx)
