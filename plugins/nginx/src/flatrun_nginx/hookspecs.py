"""The hook that other plugins add configuration by; implement it with ``@hookimpl(optionalhook=True)``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flatrun_core import hookspec

if TYPE_CHECKING:
    from flatrun_core import PluginContext
    from flatrun_core.ports.nginx import Fragment
    from flatrun_core.ports.proxy import Site


@hookspec
def flatrun_gather_nginx_fragments(ctx: "PluginContext", sites: "Sequence[Site]") -> "Sequence[Fragment]":
    """Pieces of nginx's configuration, for the sites that are about to be served.

    Called once for each apply, under the proxy's lock: answer from memory or the database, and ask
    neither the Engine nor the network. Equal sites must give equal fragments, or every apply would
    change something. A fragment is whole statements in nginx's syntax whose values have been checked
    by the plugin that gives it. ``return``, ``rewrite`` and ``if`` are refused in servers, where they
    would come before a challenge of a certificate authority. A failure stops the apply, and nothing
    is changed.
    """
