"""The suite every plugin passes."""

from flatrun_certificates import plugin
from flatrun_core.testing.conformance import PluginConformance


class TestConformance(PluginConformance):
    plugin = plugin
