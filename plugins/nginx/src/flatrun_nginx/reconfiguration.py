"""What a change of settings does to nginx; it works the same in both directions, so it can be undone."""

from typing import Final

from flatrun_core import PanelSettings, PluginContext
from flatrun_core.ports.proxy import PROXY
from flatrun_core.ports.scheduling import LOCKS
from flatrun_core.ports.settings import Note, SettingsChange
from flatrun_nginx.backend import BACKEND
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
    with ctx.services.get(LOCKS).hold("proxy", wait=WAIT_FOR_PROXY), backend.replacing(before):
        applied = ctx.services.get(PROXY).apply()
    return Note("nginx", {"nginx_reloaded": applied.reloaded, "message": applied.message})


def _before(ctx: PluginContext, settings: NginxSettings) -> Environment:
    root = ctx.settings(PanelSettings).deployments_path
    return Environment(settings, Layout.of(root, settings.config_path, settings.container_webroot_path))
