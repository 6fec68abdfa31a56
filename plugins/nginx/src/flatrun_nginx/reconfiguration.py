"""What a change of settings does to nginx; it works the same in both directions, so it can be undone."""

from typing import Final

from flatrun_core import Conflict, Invalid, PanelSettings, PluginContext
from flatrun_core.ports.proxy import PROXY, Applied
from flatrun_core.ports.scheduling import LOCKS
from flatrun_core.ports.settings import Note, SettingsChange
from flatrun_nginx import ports
from flatrun_nginx.backend import BACKEND, NginxBackend
from flatrun_nginx.environment import Environment
from flatrun_nginx.layout import Layout
from flatrun_nginx.settings import NginxSettings

WAIT_FOR_PROXY: Final = 120.0
_NETWORK: Final = "infrastructure.default_proxy_network"


def take_effect(ctx: PluginContext, change: SettingsChange) -> Note | None:
    """Apply with the new settings, where they are any of nginx's.

    When nginx runs, what keeps it from running with the new ones (a port that is taken, an image
    that cannot be had) is raised, so that the old ones come back.
    """
    if not change.touches("nginx") and _NETWORK not in change.changed:
        return None
    backend = ctx.services.get(BACKEND)
    before = _before(ctx, change.old["nginx"])
    _refuse_panels_port(change)
    with ctx.services.get(LOCKS).hold("proxy", wait=WAIT_FOR_PROXY):
        _refuse_others(backend, change.old["nginx"], change.new["nginx"])
        applied = _applied(ctx, backend, before)
    return Note("nginx", {"nginx_reloaded": applied.reloaded, "message": applied.message})


def _applied(ctx: PluginContext, backend: NginxBackend, before: Environment) -> Applied:
    with backend.replacing(before):
        return ctx.services.get(PROXY).apply()


def _refuse_panels_port(change: SettingsChange) -> None:
    new, api = change.new["nginx"], change.new["api"]
    for key in ("http_port", "https_port"):
        if getattr(new, key) == api.port and ports.overlap(new.bind_address, api.host):
            raise Invalid(f"nginx.{key}: Port {api.port} is the panel's own (api.port)")


def _refuse_others(backend: NginxBackend, old: NginxSettings, new: NginxSettings) -> None:
    """Refuse a container and ports that others have, while the nginx of before still runs."""
    if not new.enabled or new.external:
        return
    if old.container_name != new.container_name:
        state = backend.container.look(new.container_name, looks=1)
        if state.container is not None and not state.was_made_by(new):
            raise Conflict(
                f"The container {new.container_name} is not nginx's of this panel, so it is left alone. Set "
                "nginx.container_name to a name that no container has, or nginx.external to true",
                code="CONTAINER_NOT_OURS",
            )
    if not old.enabled or not backend.container.look(old.container_name, looks=1).is_of(old):
        return
    known = {old.http_port, old.https_port}
    taken = [port for port in (new.http_port, new.https_port) if port not in known]
    for port in taken:
        if ports.is_taken(new.bind_address, port):
            raise Conflict(
                f"Port {port} is already in use, so nginx goes on with the ports that it has. Stop what has "
                "it, or choose another one",
                code="PORT_IN_USE",
            )


def _before(ctx: PluginContext, settings: NginxSettings) -> Environment:
    root = ctx.settings(PanelSettings).deployments_path
    return Environment(settings, Layout.of(root, settings.config_path, settings.container_webroot_path))
