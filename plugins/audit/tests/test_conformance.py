"""The suite every plugin passes."""

from flatrun_audit import plugin
from flatrun_core.testing.conformance import PluginConformance


class TestAuditConformance(PluginConformance):
    plugin = plugin
