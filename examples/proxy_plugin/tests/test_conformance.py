"""The suite every plugin passes."""

from flatrun_caddy import plugin
from flatrun_core.testing.conformance import PluginConformance


class TestCaddyConformance(PluginConformance):
    plugin = plugin
