"""Audit: every change, refusal and login, in a chain that shows whether it was changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from peewee import Model

from flatrun_audit import models, soundness
from flatrun_audit.blueprint import blp
from flatrun_audit.cleanup import CLEANER, FIRST_AFTER, RETENTION
from flatrun_audit.interrupted import WATCH
from flatrun_audit.permissions import PERMISSIONS
from flatrun_audit.recorder import RECORDER
from flatrun_audit.settings import AuditSettingsSchema
from flatrun_audit.wiring import Wiring
from flatrun_core import HOOK_API, Blueprint, Check, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.auth import Permission, Recorder
from flatrun_core.ports.scheduling import Timer
from flatrun_core.ports.settings import SettingsGroup

if TYPE_CHECKING:
    import click

PLUGIN = PluginInfo(slug="audit", hook_api=HOOK_API, display_name="Audit", category="identity")


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer the chain, its recorder, and what reads, exports and cleans it."""
    Wiring(ctx).provide()


@hookimpl
def flatrun_register_recorders(ctx: PluginContext) -> Sequence[Recorder]:
    """The audit itself."""
    return [ctx.services.get(RECORDER)]


@hookimpl
def flatrun_on_serve(ctx: PluginContext) -> None:
    """Record what a crash cut off, and look after what is counted."""
    soundness.say(ctx)
    ctx.services.get(WATCH).start()


@hookimpl
def flatrun_on_shutdown(ctx: PluginContext) -> None:
    """Write what was counted."""
    ctx.services.get(WATCH).stop()


@hookimpl
def flatrun_register_blueprints() -> Sequence[Blueprint]:
    """The routes below ``/api/audit``."""
    return [blp]


@hookimpl
def flatrun_register_permissions() -> Sequence[Permission]:
    """Who may read the record."""
    return PERMISSIONS


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The group ``audit``."""
    return [SettingsGroup("audit", AuditSettingsSchema)]


@hookimpl
def flatrun_register_models() -> Sequence[type[Model]]:
    """Events, the head of the chain, checkpoints, requests under way."""
    return models.ALL


@hookimpl
def flatrun_register_timers(ctx: PluginContext) -> Sequence[Timer]:
    """Retention, once a day."""
    clean = ctx.services.get(CLEANER).clean_by_age
    return [Timer("audit.cleanup", RETENTION, clean, first_after=FIRST_AFTER)]


@hookimpl
def flatrun_register_checks(ctx: PluginContext) -> Sequence[Check]:
    """Whether the tables are there and the end of the chain is sound."""
    return [soundness.check_of(ctx)]


@hookimpl
def flatrun_register_commands() -> "Sequence[click.Command]":
    """``flatrun audit``."""
    # Only the command line needs it, and it must not slow the panel's start.
    from flatrun_audit.commands import audit  # noqa: PLC0415

    return [audit]
