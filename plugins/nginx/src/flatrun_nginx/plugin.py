"""nginx: nginx in a container as the reverse proxy, which no bad site can stop."""

from collections.abc import Sequence
from types import ModuleType

from flatrun_core import HOOK_API, Check, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.deployments import DeploymentEvent, Draft, Part
from flatrun_core.ports.proxy import ProxyBackend
from flatrun_core.ports.settings import Note, SettingsChange, SettingsGroup
from flatrun_nginx import checks, hookspecs, names
from flatrun_nginx.backend import BACKEND, NginxBackend
from flatrun_nginx.caretaker import CARETAKER, Caretaker
from flatrun_nginx.life import LIFE, Life
from flatrun_nginx.reconfiguration import take_effect
from flatrun_nginx.settings import GROUPS

PLUGIN = PluginInfo(
    slug="nginx",
    hook_api=HOOK_API,
    display_name="nginx",
    category="edge",
    uses=("deployments", "domains", "certificates"),
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer the backend to this plugin's own hooks."""
    ctx.services.provide(BACKEND, lambda: NginxBackend(ctx))
    ctx.services.provide(LIFE, lambda: Life(ctx))
    ctx.services.provide(CARETAKER, lambda: Caretaker(ctx))


@hookimpl
def flatrun_on_serve(ctx: PluginContext) -> None:
    """Repair what a crash left and serve what there is, beside the start; then look after nginx."""
    backend = ctx.services.get(BACKEND)
    environment = backend.environment()
    if environment.settings.enabled:
        backend.check_folder(environment)
    ctx.services.get(LIFE).start()
    ctx.services.get(CARETAKER).start()


@hookimpl
def flatrun_on_shutdown(ctx: PluginContext) -> None:
    """Give both a moment to end; nginx goes on serving."""
    ctx.services.get(CARETAKER).stop()
    ctx.services.get(LIFE).stop()


@hookimpl
def flatrun_register_hookspecs() -> Sequence[ModuleType]:
    """Fragments of other plugins."""
    return [hookspecs]


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The group ``nginx``."""
    return GROUPS


@hookimpl
def flatrun_apply_settings(ctx: PluginContext, change: SettingsChange) -> Note | None:
    """Make another image, name, port or limit take effect."""
    return take_effect(ctx, change)


@hookimpl
def flatrun_register_proxy_backends(ctx: PluginContext) -> Sequence[ProxyBackend]:
    """The backend ``nginx``."""
    return [ctx.services.get(BACKEND)]


@hookimpl
def flatrun_register_checks(ctx: PluginContext) -> Sequence[Check]:
    """How the container does, its ports, files that are left out, Lua."""
    return checks.checks(ctx)


@hookimpl(optionalhook=True)
def flatrun_join_deployment_create(draft: Draft) -> Part | None:
    """Names that files of nginx have are refused."""
    return names.refuse_reserved(draft)


@hookimpl(optionalhook=True)
def flatrun_on_deployment_started(ctx: PluginContext, event: DeploymentEvent) -> None:
    """Its containers may have other addresses now."""
    ctx.services.get(BACKEND).follow(event.name)
