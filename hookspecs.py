"""Every hook of the core. Import markers and types from ``flatrun_core``; this file is for reading.

Names are ``flatrun_<kind>_<noun>`` and the kind tells how a hook is called and what a failure means:

register      once, at assembly; returns descriptors with a ``name``. A failure fails the plugin.
gather        while running; the whole is needed, so a failure stops the operation.
authenticate  the first answer counts; a failure refuses the request.
authorize     all are asked and each may refuse; a failure refuses the request.
apply         all in turn after a settings change; a failure applies the old settings in reverse.
on            after the fact, with one frozen event; a failure is logged.

``ctx`` is the implementing plugin's own ``PluginContext``; an implementation may leave out any
argument that it does not need. All run in the order of the
plugins. Hooks that belong to plugins (``flatrun_join_deployment_create`` and others) are specified
in the ``hookspecs.py`` of their owner and implemented with ``@hookimpl(optionalhook=True)``.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from flatrun_core.markers import PROJECT, hookspec

if TYPE_CHECKING:
    import click
    from flask_smorest import Blueprint
    from peewee import Model

    from flatrun_core.checks import Check
    from flatrun_core.context import PluginContext
    from flatrun_core.ports.auth import Access, Credentials, Identity, Permission, Recorder
    from flatrun_core.ports.proxy import ProxyBackend, Site
    from flatrun_core.ports.scheduling import JobFailed, JobKind, Timer
    from flatrun_core.ports.settings import Note, SettingsChange, SettingsGroup
    from flatrun_core.ports.storage import StorageBackend

SPECIFIES = PROJECT

# --- lifecycle ---------------------------------------------------------------------------------


@hookspec
def flatrun_on_setup(ctx: "PluginContext") -> None:
    """Offer services with ``ctx.services.provide``; no I/O, no threads.

    Called once at assembly, in start order. Failure: the plugin is failed and assembly starts anew.
    """


@hookspec
def flatrun_on_serve(ctx: "PluginContext") -> None:
    """Start what runs beside requests. Called once, before the first request is accepted.

    Failure: logged; with ``strict`` it ends the start.
    """


@hookspec
def flatrun_on_shutdown(ctx: "PluginContext") -> None:
    """Stop it again. Called in reverse order when the panel ends. Failure: logged."""


@hookspec
def flatrun_register_hookspecs(ctx: "PluginContext") -> "Sequence[ModuleType]":
    """Modules with the hook specifications this plugin owns."""


@hookspec
def flatrun_register_blueprints(ctx: "PluginContext") -> "Sequence[Blueprint]":
    """flask-smorest blueprints below ``/api``; each view method declares its access."""


@hookspec
def flatrun_register_models(ctx: "PluginContext") -> "Sequence[type[Model]]":
    """Peewee models without a database; table names start with ``<slug>_``."""


@hookspec
def flatrun_register_settings(ctx: "PluginContext") -> "Sequence[SettingsGroup]":
    """Groups of ``flatrun.yml`` that this plugin owns."""


@hookspec
def flatrun_apply_settings(ctx: "PluginContext", change: "SettingsChange") -> "Note | None":
    """Make a change of settings take effect; must be repeatable, and is called in reverse to undo."""


@hookspec
def flatrun_register_commands(ctx: "PluginContext") -> "Sequence[click.Command]":
    """Commands of ``flatrun``; their callbacks get the ``Session`` of ``flatrun_core.cli`` as object."""


@hookspec
def flatrun_register_checks(ctx: "PluginContext") -> "Sequence[Check]":
    """What ``flatrun doctor`` looks at."""


# --- auth --------------------------------------------------------------------------------------


@hookspec
def flatrun_authenticate(ctx: "PluginContext", credentials: "Credentials") -> "Identity | None":
    """Who this is, or None to let the next one answer.

    Called for every request that is not public, before anything of it is read. Raise
    ``Unauthenticated`` for a credential that is this provider's and not valid.
    """


@hookspec
def flatrun_authorize(
    ctx: "PluginContext",
    identity: "Identity",
    access: "Access",
    deployment: "str | None",
    method: str,
) -> None:
    """Refuse by raising ``Forbidden``; silence allows what the core has already allowed.

    ``method`` is the request's, in upper case. Streams ask again while they run.
    """


@hookspec
def flatrun_register_permissions(ctx: "PluginContext") -> "Sequence[Permission]":
    """Permissions that this plugin's views declare, and the roles that hold them."""


@hookspec
def flatrun_register_recorders(ctx: "PluginContext") -> "Sequence[Recorder]":
    """Keepers of a record of requests, such as an audit."""


# --- storage -----------------------------------------------------------------------------------


@hookspec
def flatrun_register_storage_backends(ctx: "PluginContext") -> "Sequence[StorageBackend]":
    """Databases the panel's state may live in, by URL scheme; two for one scheme fail both."""


# --- proxy -------------------------------------------------------------------------------------


@hookspec
def flatrun_register_proxy_backends(ctx: "PluginContext") -> "Sequence[ProxyBackend]":
    """Reverse proxies; ``proxy.backend`` names one when there are several."""


@hookspec
def flatrun_gather_sites(ctx: "PluginContext") -> "Sequence[Site]":
    """Everything this plugin wants served. Called for each apply; a failure stops it."""


# --- scheduling --------------------------------------------------------------------------------


@hookspec
def flatrun_register_timers(ctx: "PluginContext") -> "Sequence[Timer]":
    """Periodic work, run in one process only."""


@hookspec
def flatrun_register_jobs(ctx: "PluginContext") -> "Sequence[JobKind]":
    """Kinds of background work to be submitted through ``JOBS``."""


@hookspec
def flatrun_on_job_failed(ctx: "PluginContext", event: "JobFailed") -> None:
    """A job ended in failure."""
