"""What every plugin has to be."""

from flatrun_core.testing.conformance import PluginConformance
from flatrun_deployments import plugin


class TestConformance(PluginConformance):
    plugin = plugin
