"""What an apply goes by: the settings as they are now, and the places that follow from them."""

from dataclasses import dataclass
from typing import Any, Final

from flatrun_core import PanelSettings, PluginContext
from flatrun_core.ports.settings import SETTINGS
from flatrun_nginx.layout import Layout
from flatrun_nginx.settings import NginxSettings

_DEFAULT_NETWORK: Final = "proxy"


@dataclass(frozen=True, slots=True)
class Environment:
    """``network`` is the name of the network that nginx reaches its targets on."""

    settings: NginxSettings
    layout: Layout
    network: str = _DEFAULT_NETWORK


def current(ctx: PluginContext) -> Environment:
    """The environment now; nothing of it is kept."""
    settings = ctx.settings(NginxSettings)
    root = ctx.settings(PanelSettings).deployments_path
    layout = Layout.of(root, settings.config_path, settings.container_webroot_path)
    # The group of another plugin, which may not be there.
    published: dict[str, Any] = ctx.services.get(SETTINGS).published()
    network = (published.get("infrastructure") or {}).get("default_proxy_network")
    return Environment(settings, layout, str(network or _DEFAULT_NETWORK))
