"""Domains: the domains of every deployment, routed through the reverse proxy."""

from flatrun_core import HOOK_API, PluginInfo

PLUGIN = PluginInfo(
    slug="domains",
    hook_api=HOOK_API,
    display_name="Domains",
    category="edge",
    requires=("deployments",),
    uses=("certificates",),
    sections=("domain",),
    prefixes=("deployments", "proxy"),
    permissions=("certificates",),
)
