"""The suite every plugin passes."""

from flatrun_core.testing.conformance import PluginConformance
from flatrun_deployments import plugin as deployments
from flatrun_domains import plugin


class TestConformance(PluginConformance):
    plugin = plugin
    requires = (deployments,)
