"""Fakes at ports; each passes the contract suite of the port it stands for."""

import hmac
from collections.abc import Collection, Mapping, Sequence

from flatrun_core.errors import Failed, Invalid
from flatrun_core.ports.proxy import Applied, Endpoints, Route, Site, VirtualHost
from flatrun_core.site_rules import check_site


class FakeProxy:
    """A proxy backend in memory; ``refuse`` names deployments whose configuration it rejects, and why.

    It rejects what ``check_site`` does, too. ``running = False`` is a proxy that is stopped;
    ``unreachable`` says of upstreams why they take no connection.
    """

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.sites: dict[str, Site] = {}
        self.refuse: dict[str, str] = {}
        self.quarantined: dict[str, str] = {}
        self.token = "fake-proxy-token"  # noqa: S105 - opens nothing outside a test
        self.reloads = 0
        self.running = True
        self.unreachable: dict[str, str] = {}

    def apply(self, sites: Sequence[Site], changed: Collection[str], force: bool) -> Applied:
        """Serve the sites, or keep what was there when a changed one is refused."""
        refused = {site.deployment: reason for site in sites if (reason := self._refusal(site))}
        for name in sorted(refused.keys() & set(changed)):
            raise Failed(refused[name], code="PROXY_CONFIG_FAILED", details=refused[name])
        wanted = {site.deployment: site for site in sites if site.deployment not in refused}
        changed_now = force or wanted != self.sites
        self.sites = wanted
        self.quarantined = dict(sorted(refused.items()))
        reloaded = changed_now and self.running
        self.reloads += reloaded
        return Applied(
            changed=changed_now,
            reloaded=reloaded,
            serving=self.running,
            message="" if self.running else "It takes effect when the proxy starts",
            quarantined=dict(self.quarantined),
        )

    def _refusal(self, site: Site) -> str:
        try:
            check_site(site)
        except Invalid as exc:
            return exc.message
        return self.refuse.get(site.deployment, "")

    def status(self, deployment: str) -> VirtualHost:
        """Whether the deployment is served."""
        if deployment in self.quarantined:
            return VirtualHost(quarantined=True, reason=self.quarantined[deployment])
        return VirtualHost(exists=deployment in self.sites)

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """Everything served or left out."""
        return {name: self.status(name) for name in sorted({*self.sites, *self.quarantined})}

    def endpoints(self) -> Endpoints:
        """Nowhere: it opens no port."""
        return Endpoints()

    def probe(self, routes: Collection[Route]) -> Sequence[str]:
        """What ``unreachable`` says of the upstreams asked for."""
        return [self.unreachable[route.upstream] for route in routes if route.upstream in self.unreachable]

    def accepts(self, token: str) -> bool:
        """Whether the token is this fake's."""
        return hmac.compare_digest(token.encode(), self.token.encode())
