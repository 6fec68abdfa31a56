"""From plans to sites: finds certificates, and gives the same object again while nothing changed."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from flatrun_core.ports.certificates import Certificate
from flatrun_core.ports.proxy import Host, Site, Tls
from flatrun_domains.table import HostPlan, Table

Lookup = Callable[[Sequence[str]], Certificate | None]
Secured = tuple[Certificate | None, ...]

_NONE: Final[Secured] = ()


class SiteMaker:
    """Makes the sites of a table; the caller sees to it that one thread does at a time."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[tuple[HostPlan, ...], Secured, Site]] = {}

    def make(self, table: Table, lookup: Lookup, refused: Collection[str]) -> list[Site]:
        """Sites by name; a certificate whose fingerprint is in ``refused`` counts as absent."""
        before, self._made = self._made, {}
        found: dict[tuple[str, ...], Certificate | None] = {}

        def certificate(hosts: tuple[str, ...]) -> Certificate | None:
            if hosts not in found:
                known = lookup(hosts)
                found[hosts] = None if known is None or known.fingerprint in refused else known
            return found[hosts]

        for name, plans in table.sites.items():
            secured = tuple(certificate(plan.tls) for plan in plans if plan.tls) or _NONE
            known = before.get(name)
            if known is None or known[0] != plans or known[1] != secured:
                known = (plans, secured, _site(name, plans, found))
            self._made[name] = known
        return [site for _, _, site in self._made.values()]


def _site(name: str, plans: Sequence[HostPlan], found: Mapping[tuple[str, ...], Certificate | None]) -> Site:
    hosts = [host for plan in plans for host in _hosts(plan, found.get(plan.tls) if plan.tls else None)]
    return Site(name, tuple(sorted(hosts, key=lambda host: host.name)))


def _hosts(plan: HostPlan, certificate: Certificate | None) -> Iterator[Host]:
    """One host, or two where the certificate covers not all names."""
    covered = [name for name in plan.names if certificate is not None and certificate.covers([name])]
    plain = [name for name in plan.names if name not in covered]
    if covered and certificate is not None:
        tls = Tls(
            certificate.chain,
            certificate.key,
            certificate.fingerprint,
            ocsp=certificate.ocsp,
            hsts=not certificate.staging,
        )
        yield Host(covered[0], tuple(covered[1:]), plan.routes, tls)
    if plain:
        yield Host(plain[0], tuple(plain[1:]), plan.routes)
