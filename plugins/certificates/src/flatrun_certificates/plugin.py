"""Certificates: TLS certificates from any ACME authority, renewed before it matters."""

from collections.abc import Sequence
from types import ModuleType

from flatrun_certificates import background, hookspecs, models
from flatrun_certificates.blueprint import blp
from flatrun_certificates.checks import checks
from flatrun_certificates.offers import commands, offer_all, take_effect
from flatrun_certificates.permissions import PERMISSIONS
from flatrun_certificates.renewal import SERVICE
from flatrun_certificates.settings import CertbotSchema, CertificatesSchema
from flatrun_core import HOOK_API, Blueprint, Check, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.auth import Permission
from flatrun_core.ports.deployments import DomainsChanged
from flatrun_core.ports.scheduling import JobKind, Timer
from flatrun_core.ports.settings import SettingsChange, SettingsGroup

PLUGIN = PluginInfo(
    slug="certificates",
    hook_api=HOOK_API,
    display_name="Certificates",
    category="edge",
    uses=("deployments", "domains", "nginx", "dns"),
    sections=("certbot",),
    prefixes=("deployments",),
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer certificates to whoever serves sites."""
    offer_all(ctx)


@hookimpl
def flatrun_register_hookspecs() -> Sequence[ModuleType]:
    """Issuers of other plugins, and events."""
    return [hookspecs]


@hookimpl
def flatrun_register_blueprints() -> Sequence[Blueprint]:
    """The routes of certificates."""
    return [blp]


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The groups ``certbot`` and ``certificates``."""
    return [SettingsGroup("certbot", CertbotSchema), SettingsGroup("certificates", CertificatesSchema)]


@hookimpl
def flatrun_apply_settings(ctx: PluginContext, change: SettingsChange) -> None:
    """Folders may be others, and so may the file that vouches for the authority."""
    take_effect(ctx, change)


@hookimpl
def flatrun_register_permissions() -> Sequence[Permission]:
    """Who may do what."""
    return PERMISSIONS


@hookimpl
def flatrun_register_models() -> Sequence[type[object]]:
    """What happened to each certificate."""
    return models.ALL


@hookimpl
def flatrun_register_timers(ctx: PluginContext) -> Sequence[Timer]:
    """Renewal in the background."""
    return background.timers(ctx)


@hookimpl
def flatrun_register_jobs(ctx: PluginContext) -> Sequence[JobKind]:
    """A pass over everything that is due."""
    return background.jobs(ctx)


@hookimpl(optionalhook=True)
def flatrun_on_domains_changed(ctx: PluginContext, event: DomainsChanged) -> None:
    """Failures for hosts that are gone concern nobody any more."""
    ctx.services.get(SERVICE).forget(event.removed)


@hookimpl
def flatrun_register_checks(ctx: PluginContext) -> Sequence[Check]:
    """Whether a certificate is late, damaged or not served."""
    return checks(ctx)


@hookimpl
def flatrun_register_commands() -> Sequence[object]:
    """``flatrun certificates``; loaded for the command line only."""
    return commands()
