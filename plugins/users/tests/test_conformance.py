"""The suite every plugin passes."""

from flatrun_core.testing.conformance import PluginConformance
from flatrun_users import plugin


class TestUsersConformance(PluginConformance):
    plugin = plugin
