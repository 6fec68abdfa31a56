"""Audit: every change, refusal and login, in a chain that shows whether it was changed."""

from flatrun_core import HOOK_API, PluginInfo

PLUGIN = PluginInfo(
    slug="audit",
    hook_api=HOOK_API,
    display_name="Audit",
    type="service",
    category="identity",
)
