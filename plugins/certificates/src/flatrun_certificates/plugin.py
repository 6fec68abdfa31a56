"""Certificates: TLS certificates from any ACME authority, renewed before it matters."""

from flatrun_core import HOOK_API, PluginInfo

PLUGIN = PluginInfo(
    slug="certificates",
    hook_api=HOOK_API,
    display_name="Certificates",
    category="edge",
    uses=("deployments", "domains", "nginx", "dns"),
    sections=("certbot",),
    prefixes=("deployments",),
)
