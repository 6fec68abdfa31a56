"""The suite every plugin passes."""

from flatrun_core.testing.conformance import PluginConformance
from flatrun_nginx import plugin


class TestConformance(PluginConformance):
    plugin = plugin
