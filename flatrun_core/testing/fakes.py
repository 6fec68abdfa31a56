"""Fakes at ports; each passes the contract suite of the port it stands for."""

import hmac
from collections.abc import Collection, Sequence

from flatrun_core.errors import Failed
from flatrun_core.ports.proxy import Applied, Site, VirtualHost


class FakeProxy:
    """A proxy backend in memory; ``refuse`` names deployments whose configuration it rejects, and why."""

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.sites: dict[str, Site] = {}
        self.refuse: dict[str, str] = {}
        self.quarantined: dict[str, str] = {}
        self.token = "fake-proxy-token"  # noqa: S105 - opens nothing outside a test
        self.reloads = 0

    def apply(self, sites: Sequence[Site], changed: Collection[str], force: bool) -> Applied:
        """Serve the sites, or keep what was there when a changed one is refused."""
        refused = {site.deployment for site in sites} & self.refuse.keys()
        for name in sorted(refused & set(changed)):
            raise Failed(self.refuse[name], code="PROXY_CONFIG_FAILED")
        wanted = {site.deployment: site for site in sites if site.deployment not in refused}
        changed_now = force or wanted != self.sites
        self.sites = wanted
        self.quarantined = {name: self.refuse[name] for name in sorted(refused)}
        self.reloads += changed_now
        return Applied(changed=changed_now, reloaded=changed_now, quarantined=dict(self.quarantined))

    def status(self, deployment: str) -> VirtualHost:
        """Whether the deployment is served."""
        if deployment in self.quarantined:
            return VirtualHost(quarantined=True, reason=self.quarantined[deployment])
        return VirtualHost(exists=deployment in self.sites)

    def accepts(self, token: str) -> bool:
        """Whether the token is this fake's."""
        return hmac.compare_digest(token.encode(), self.token.encode())
