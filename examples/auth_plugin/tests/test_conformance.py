"""The suite every plugin passes."""

from flatrun_core.testing.conformance import PluginConformance
from flatrun_proxy_login import plugin


class TestProxyLoginConformance(PluginConformance):
    plugin = plugin
