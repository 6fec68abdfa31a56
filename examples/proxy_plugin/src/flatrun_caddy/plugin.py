"""Caddy: a reverse proxy for the sites, from one Caddyfile."""

from collections.abc import Sequence
from pathlib import Path

from flatrun_caddy.backend import CADDY, CaddyBackend
from flatrun_caddy.program import CaddyProgram
from flatrun_caddy.settings import CaddySchema, CaddySettings, Layout
from flatrun_core import HOOK_API, PanelSettings, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.programs import PROGRAMS
from flatrun_core.ports.proxy import ProxyBackend
from flatrun_core.ports.settings import SettingsGroup

PLUGIN = PluginInfo(
    slug="caddy",
    hook_api=HOOK_API,
    display_name="Caddy",
    type="integration",
    category="examples",
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer the backend, which asks for its settings anew each time."""

    def layout() -> Layout:
        return Layout.of(ctx.settings(CaddySettings), Path(ctx.settings(PanelSettings).deployments_path))

    ctx.services.provide(CADDY, lambda: CaddyBackend(layout, CaddyProgram(ctx.services.get(PROGRAMS))))


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The group ``caddy``; where it writes and what it runs is no matter of the API."""
    return [SettingsGroup("caddy", CaddySchema, published=False)]


@hookimpl
def flatrun_register_proxy_backends(ctx: PluginContext) -> Sequence[ProxyBackend]:
    """The backend that ``proxy.backend: caddy`` names."""
    return [ctx.services.get(CADDY)]
