"""What ``flatrun doctor`` looks at: what is not served, and why."""

from collections.abc import Sequence

from flatrun_core import Check, Finding, PluginContext
from flatrun_core.ports.proxy import PANEL, PROXY
from flatrun_domains.registry import REGISTRY
from flatrun_domains.settings import DomainSettings
from flatrun_domains.status import STATUSES


def checks(ctx: PluginContext) -> Sequence[Check]:
    """Entries left out, sites the proxy refuses, the panel's own domain."""
    return [
        Check("domains-left-out", "Domains", lambda: left_out(ctx)),
        Check("domains-quarantined", "Sites", lambda: quarantined(ctx)),
        Check("panel-domain", "Panel's domain", lambda: panel_domain(ctx)),
    ]


def left_out(ctx: PluginContext) -> Finding:
    """Whether every entry that is to be served is."""
    found = ctx.services.get(STATUSES).everything_left_out()
    if not found:
        return Finding("ok", f"{len(ctx.services.get(REGISTRY).table().owners)} names are routed")
    told = [f"{one['deployment_name']}: {one['domain']}: {one['reason']}{_by(one)}" for one in found]
    return Finding("warning", "; ".join(told), "correct the domains of these deployments")


def quarantined(ctx: PluginContext) -> Finding:
    """Whether the proxy takes every site."""
    found = ctx.services.get(PROXY).virtual_hosts()
    refused = [f"{name}: {known.reason}" for name, known in sorted(found.items()) if known.quarantined]
    if not refused:
        return Finding("ok", "the proxy refuses none")
    return Finding("error", "; ".join(refused), "correct what the reason names; it is tried again by itself")


def panel_domain(ctx: PluginContext) -> Finding:
    """Whether the panel's own domain is served as the settings say."""
    settings = ctx.settings(DomainSettings)
    domain = settings.panel_domain
    if not domain:
        return Finding("ok", "none is set")
    if not ctx.services.get(PROXY).status(PANEL).exists:
        return Finding("warning", f"{domain} is not served", "see whether the proxy runs")
    if settings.panel_ssl and ctx.services.get(REGISTRY).lookup([domain]) is None:
        return Finding("warning", f"{domain} has no certificate", "see `flatrun doctor` on certificates")
    return Finding("ok", domain)


def _by(found: dict[str, str]) -> str:
    return f" (by '{found['by']}')" if found.get("by") else ""
