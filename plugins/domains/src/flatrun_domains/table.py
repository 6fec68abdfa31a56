"""Who is served under which host and path: the entries of all deployments laid out as sites.

Everything here is pure. Certificates are left open: a ``HostPlan`` names the hosts that one has to be
found for, and ``sites.py`` finds it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from flatrun_core.ports.proxy import PANEL, Route
from flatrun_domains import rules
from flatrun_domains.entries import Entry, Pair

DEFAULT_TIMEOUT: Final = 60
NOBODY: Final[Mapping[Pair, str]] = MappingProxyType({})
# The panel is reached by its socket; a route has a port all the same.
PANEL_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Claim:
    """A host and path that belong to an entry of a deployment."""

    deployment: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An entry, or one alias of it, that is not served, and why.

    ``by`` is the deployment that has what it wants; not everybody may know of that one.
    """

    deployment: str
    entry_id: str
    domain: str
    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Names with the same routes; with ``tls`` they want a certificate for those hosts."""

    names: tuple[str, ...]
    routes: tuple[Route, ...]
    tls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """The outcome. ``sites`` are by deployment; ``owners`` say whose site a host is in.

    ``claims`` say whose each host and path is, ``contested`` those that others want as well.
    """

    sites: Mapping[str, tuple[HostPlan, ...]] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    together: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secure: frozenset[str] = frozenset()
    left_out: tuple[LeftOut, ...] = ()
    claims: Mapping[Pair, str] = field(default_factory=dict)
    contested: Mapping[Pair, str] = field(default_factory=dict)


def upstream(deployment: str, service: str) -> str:
    """The alias of a service on the proxy's network."""
    return f"{deployment}-{service}"


def route(deployment: str, entry: Entry) -> Route:
    """An entry as a location."""
    return Route(
        path=entry.path,
        upstream=upstream(deployment, entry.service),
        port=entry.port,
        strip_prefix=entry.strip_prefix,
        timeout=entry.timeout or DEFAULT_TIMEOUT,
        protocol=entry.protocol,
        max_body=entry.max_body,
    )


def build(
    deployments: Iterable[tuple[str, Sequence[Entry]]],
    panel_domain: str = "",
    panel_ssl: bool = False,
    holders: Mapping[Pair, str] = NOBODY,
) -> Table:
    """Lay out what is to be served; ``deployments`` come by name.

    Of two claims the one of the deployment that ``holders`` name wins, else the first one.
    """
    everything = [(name, entries) for name, entries in deployments if entries]
    while True:
        layout = _Layout(panel_domain, holders)
        for name, entries in everything:
            layout.add_all(name, entries)
        idle = layout.idle()
        if not idle:
            return layout.table(panel_ssl)
        # Who held them has no use for them any more, so others get them.
        holders = {pair: holder for pair, holder in holders.items() if pair not in idle}


class _Layout:
    """A table in the making."""

    def __init__(self, panel_domain: str, holders: Mapping[Pair, str]) -> None:
        self._panel = panel_domain
        self._holders = holders
        self._contested: dict[Pair, str] = {}
        self._claims: dict[str, dict[str, Claim]] = {}
        self._upstreams: dict[str, tuple[str, str]] = {}
        self._groups: dict[tuple[str, str], dict[str, None]] = {}
        self._left_out: list[LeftOut] = []

    def add_all(self, name: str, entries: Sequence[Entry]) -> None:
        """Give the entries of a deployment the hosts that are free; one of a reserved name has none."""
        if rules.is_reserved(name):
            reason = "the proxy keeps the deployment's name for itself"
            self._left_out += [LeftOut(name, entry.id, entry.domain, reason) for entry in entries]
            return
        for entry in entries:
            self._add(name, entry)

    def idle(self) -> frozenset[Pair]:
        """What was kept for a holder that turned out not to have it."""
        return frozenset(pair for pair, holder in self._contested.items() if self._owner(pair) != holder)

    def _add(self, name: str, entry: Entry) -> None:
        whose = (name, entry.service)
        if self._upstreams.setdefault(upstream(*whose), whose) != whose:
            by = self._upstreams[upstream(*whose)][0]
            reason = "a service of another deployment has the same name on the proxy's network"
            self._left_out.append(LeftOut(name, entry.id, entry.domain, reason, by))
            return
        for host in entry.names:
            taken = self._taken(name, host, entry.path)
            if taken:
                self._left_out.append(LeftOut(name, entry.id, host, *taken))
                if host == entry.domain:
                    return
                continue
            self._claims.setdefault(host, {})[entry.path] = Claim(name, entry)
            self._groups.setdefault((name, entry.domain), {})[host] = None

    def _taken(self, name: str, host: str, path: str) -> tuple[str, str] | None:
        """Why a deployment cannot have a host and path, and who has them."""
        if host == self._panel:
            return "it is the panel's own domain", PANEL
        owner = self._owner((host, path))
        by = owner or self._holders.get((host, path), name)
        if by != name:
            self._contested[host, path] = by
        return (f"{host}{path} is routed already", by) if owner or by != name else None

    def _owner(self, pair: Pair) -> str | None:
        known = self._claims.get(pair[0], {}).get(pair[1])
        return known.deployment if known else None

    def table(self, panel_ssl: bool) -> Table:
        """The finished table."""
        owners: dict[str, str] = {}
        together: dict[str, tuple[str, ...]] = {}
        secure: set[str] = set()
        grouped: dict[str, dict[tuple[str, tuple[Route, ...], tuple[str, ...]], list[str]]] = {}
        for host in sorted(self._claims):
            claims = self._claims[host]
            owner, group, tls = self._of_host(claims)
            owners[host], together[host] = owner, group
            if tls:
                secure.add(host)
            routes = tuple(route(c.deployment, c.entry) for _, c in sorted(claims.items(), key=_longest))
            grouped.setdefault(owner, {}).setdefault((group[0], routes, tls), []).append(host)
        sites = {
            name: tuple(_host_plan(hosts, *key) for key, hosts in grouped[name].items())
            for name in sorted(grouped)
        }
        of_pairs = {(host, path): c.deployment for host, m in self._claims.items() for path, c in m.items()}
        table = Table(
            sites, owners, together, frozenset(secure), tuple(self._left_out), of_pairs, self._contested
        )
        return _with_panel(table, self._panel, panel_ssl) if self._panel else table

    def _of_host(self, claims: Mapping[str, Claim]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """Whose site a host is in, what its certificate covers, and the same again if it wants one."""
        # Several deployments may share a host by path; the one at its root has it.
        first = claims.get("/") or min(claims.values(), key=lambda claim: claim.deployment)
        wanting = [claim for claim in claims.values() if claim.entry.tls]
        chosen = next((claim for claim in wanting if claim.deployment == first.deployment), None)
        leading = chosen or (wanting[0] if wanting else first)
        group = tuple(self._groups[leading.deployment, leading.entry.domain])
        return first.deployment, group, group if wanting else ()


def _longest(item: tuple[str, Claim]) -> tuple[int, str]:
    return -len(item[0]), item[0]


def _host_plan(
    hosts: Sequence[str], primary: str, routes: tuple[Route, ...], tls: tuple[str, ...]
) -> HostPlan:
    first = primary if primary in hosts else hosts[0]
    return HostPlan((first, *(host for host in hosts if host != first)), routes, tls)


def _with_panel(table: Table, domain: str, ssl: bool) -> Table:
    plan = HostPlan((domain,), (Route("/", PANEL, PANEL_PORT),), (domain,) if ssl else ())
    return replace(
        table,
        sites={PANEL: (plan,), **table.sites},
        owners={**table.owners, domain: PANEL},
        together={**table.together, domain: (domain,)},
        secure=table.secure | ({domain} if ssl else set()),
    )
