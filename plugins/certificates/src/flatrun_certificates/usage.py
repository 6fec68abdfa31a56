"""Which sites a certificate is for, as the plugin that keeps the routes knows them."""

from collections.abc import Mapping, Sequence

from flatrun_core import PluginContext
from flatrun_core.ports.certificates import Certificate
from flatrun_core.ports.deployments import ROUTES, Routes


class Usage:
    """The routed hosts at one moment; without anybody who keeps routes there are none."""

    def __init__(self, ctx: PluginContext) -> None:
        self._routes: Routes | None = ctx.services.find(ROUTES)
        self.hosts: Mapping[str, str] = self._routes.hosts() if self._routes is not None else {}

    def owner(self, host: str) -> str | None:
        """The deployment a host is routed to."""
        return self.hosts.get(host)

    def covered(self, domains: Sequence[str]) -> dict[str, str]:
        """The routed hosts among names of a certificate, wildcards included, each with its deployment."""
        found = {name: self.hosts[name] for name in domains if name in self.hosts}
        for name in domains:
            if name.startswith("*."):
                below = {host for host in self.hosts if host.partition(".")[2] == name[2:]}
                found |= {host: self.hosts[host] for host in sorted(below)}
        return found

    def owners(self, domains: Sequence[str]) -> list[str]:
        """The deployments that some of the names are routed to, in the order of the names."""
        return list(dict.fromkeys(self.covered(domains).values()))

    def together(self, host: str) -> tuple[str, ...]:
        """What a certificate for a host covers: its entry's names, or the host alone."""
        found = self._routes.together(host) if self._routes is not None and host in self.hosts else ()
        return tuple(found) or (host,)

    def wanting_tls(self, certificate: Certificate) -> dict[str, str]:
        """The hosts a certificate covers whose entries want TLS, each with its deployment."""
        covered = self.covered(certificate.domains)
        return {host: name for host, name in covered.items() if self.wants_tls(host)}

    def wants_tls(self, host: str) -> bool:
        """Whether the entry of a host wants TLS."""
        return self._routes is not None and self._routes.wants_tls(host)

    def without_tls(self, hosts: Sequence[str]) -> None:
        """Let the sites of these hosts do without TLS from now on."""
        if self._routes is not None and hosts:
            self._routes.without_tls(hosts)

    def publish(self, deployment: str) -> Mapping[str, object]:
        """Apply a deployment's routes and get what they want."""
        return self._routes.publish(deployment) if self._routes is not None else {}
