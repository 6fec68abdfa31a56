"""nginx: nginx in a container as the reverse proxy, which no bad site can stop."""

from flatrun_core import HOOK_API, PluginInfo

PLUGIN = PluginInfo(
    slug="nginx",
    hook_api=HOOK_API,
    display_name="nginx",
    category="edge",
    uses=("deployments", "domains", "certificates"),
)
