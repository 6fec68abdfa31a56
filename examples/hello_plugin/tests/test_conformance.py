"""The suite every plugin passes."""

from flatrun_core.testing.conformance import PluginConformance
from flatrun_hello import plugin


class TestHelloConformance(PluginConformance):
    plugin = plugin
