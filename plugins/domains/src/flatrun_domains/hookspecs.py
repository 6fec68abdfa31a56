"""The hook this plugin owns.

Implement it with ``@hookimpl(optionalhook=True)`` from ``flatrun_core``; the type is in
``flatrun_core.ports.deployments``. ``ctx`` is the implementing plugin's own context; an implementation
may leave out any argument.
"""

from typing import TYPE_CHECKING

from flatrun_core import hookspec

if TYPE_CHECKING:
    from flatrun_core.context import PluginContext
    from flatrun_core.ports.deployments import DomainsChanged


@hookspec
def flatrun_on_domains_changed(ctx: "PluginContext", event: "DomainsChanged") -> None:
    """Names came to a deployment, or went from it, through the panel."""
