"""What is served and what belongs to whom, as the files tell at this moment."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flatrun_core import PanelSettings, PluginContext, ServiceKey
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.certificates import CERTIFICATES, Certificate
from flatrun_core.ports.deployments import DEPLOYMENTS, Deployment
from flatrun_core.ports.proxy import Site
from flatrun_core.ports.storage import DATABASE
from flatrun_domains import subdomains
from flatrun_domains.entries import Entry, Pair, Reading, read
from flatrun_domains.memory import Memory
from flatrun_domains.settings import DomainSettings
from flatrun_domains.sites import SiteMaker
from flatrun_domains.table import Table, build
from flatrun_domains.taken import Taken, Wish

RECENT: Final = 1.0
_NOTHING: Final = Reading()
_Key = tuple[Any, ...]


class Registry:
    """The routes of every deployment. Safe to call from any thread; takes no lock of ``LOCKS``.

    Whoever decides on what it answers, as that a host is free, holds the proxy's lock meanwhile.
    """

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._deployments = ctx.services.get(DEPLOYMENTS)
        self._mutex = threading.RLock()
        self._memory = Memory(ctx.services.get(DATABASE))
        self._readings: dict[str, tuple[_Key, Reading]] = {}
        self._coming: dict[str, tuple[Entry, ...]] = {}
        self._going: set[str] = set()
        self._refused: set[str] = set()
        self._maker = SiteMaker()
        self._built: tuple[_Key, Table] | None = None
        self._holders: Mapping[Pair, str] | None = None
        self._looked = 0.0
        self._gathered: list[Site] | None = None

    # --- what is served -------------------------------------------------------------------------

    def gather(self) -> list[Site]:
        """The sites, for an application of them."""
        with self._mutex:
            self._gathered = self.sites()
            return self._gathered

    def sites(self) -> list[Site]:
        """The sites as they would be gathered now."""
        with self._mutex:
            return self._maker.make(self.table(), self.lookup, self._refused)

    def is_applied(self) -> bool:
        """Whether nothing has changed since sites were gathered last."""
        with self._mutex:
            return self._gathered is not None and self._gathered == self.sites()

    def table(self) -> Table:
        """Who is served under which host and path."""
        with self._mutex:
            return self._table(self.deployments())

    def laid_out(self) -> Table:
        """The table as it was made last, within a second, which spares a look at every file."""
        with self._mutex:
            if self._built is not None and time.monotonic() - self._looked < RECENT:
                return self._built[1]
            return self.table()

    def lookup(self, hosts: Sequence[str]) -> Certificate | None:
        """The certificate for hosts, None without one or without the plugin."""
        certificates = self._ctx.services.find(CERTIFICATES)
        return certificates.lookup(hosts) if certificates is not None else None

    def distrust(self) -> None:
        """What was gathered may not be what is served."""
        with self._mutex:
            self._gathered = None

    def refuse(self, fingerprints: Collection[str]) -> None:
        """Serve without certificates that the proxy does not take; a renewed one is another."""
        with self._mutex:
            self._refused.update(fingerprints)

    # --- of deployments ----------------------------------------------------------------------

    def deployments(self) -> Sequence[Deployment]:
        """Every deployment by name; without a folder for them none, and none is made."""
        root = Path(self._ctx.settings(PanelSettings).deployments_path)
        return self._deployments.list() if root.is_dir() else ()

    def reading(self, deployment: Deployment) -> Reading:
        """The entries of a deployment; none of one whose ``service.yml`` cannot be read."""
        if deployment.metadata is None:
            return _NOTHING
        services = tuple((service.name, service.ports) for service in deployment.services)
        key = (deployment.metadata, services, deployment.primary_service)
        with self._mutex:
            known = self._readings.get(deployment.name)
            # The same object, which comparing all of it would only find out again.
            if known is None or known[0][0] is not key[0] or known[0][1:] != key[1:]:
                known = self._readings[deployment.name] = (key, read(deployment))
            return known[1]

    def served(self, deployment: Deployment) -> tuple[Entry, ...]:
        """Entries of a deployment that are to be served, left out or not."""
        if deployment.metadata is None:
            with self._mutex:
                return tuple(self._memory.last.get(deployment.name, ()))
        reading = self.reading(deployment)
        return reading.entries if reading.exposed else ()

    # --- what is free ---------------------------------------------------------------------------

    def check_free(self, wish: Wish, asker: Identity) -> None:
        """Raise 409 ``DOMAIN_EXISTS`` unless somebody may have what a deployment is to have.

        Of other deployments what is stored counts, exposed or not.
        """
        panel = self._ctx.settings(DomainSettings).panel_domain
        Taken(self._stored(wish.deployment), panel).check(wish, asker)

    def claimed(self, name: str) -> frozenset[Pair]:
        """The hosts and paths that a deployment is served under now."""
        return frozenset(pair for pair, owner in self.table().claims.items() if owner == name)

    def owner_of(self, host: str) -> str | None:
        """The deployment that has a host in an entry, served or not."""
        return next((owner for owner, entry in self._stored("") if host in entry.names), None)

    def free_label(self) -> str:
        """A generated label below the default domain, such that nobody has the name."""
        settings = self._ctx.settings(DomainSettings)
        taken = {host for _, entry in self._stored("") for host in entry.names} | {settings.panel_domain}
        return subdomains.generate(settings.subdomain_style, settings.default_domain, taken)

    # --- creations and removals -----------------------------------------------------------------

    def reserve(self, name: str, entries: tuple[Entry, ...]) -> None:
        """Count the entries of a deployment that is being created as taken."""
        with self._mutex:
            self._coming[name] = entries

    def created(self, name: str) -> None:
        """The creation is over, in whichever way."""
        with self._mutex:
            self._coming.pop(name, None)

    def leave(self, name: str) -> None:
        """Serve a deployment no more, although its folder still stands."""
        with self._mutex:
            self._going.add(name)

    def left(self, name: str) -> None:
        """The removal is over, in whichever way."""
        with self._mutex:
            self._going.discard(name)

    def leaving(self) -> list[str]:
        """Deployments whose removal has begun."""
        with self._mutex:
            return sorted(self._going)

    def keep(self, name: str, entries: tuple[Entry, ...]) -> None:
        """Let a site outlive its deployment."""
        with self._mutex:
            self._memory.keep(name, entries)

    def kept(self, name: str) -> tuple[Entry, ...]:
        """The kept site of a deployment that is gone."""
        with self._mutex:
            return self._memory.kept.get(name, ())

    def drop_kept(self, name: str) -> tuple[Entry, ...]:
        """Forget a kept site; what it was."""
        with self._mutex:
            return self._memory.drop(name)

    def forget(self, name: str) -> tuple[Entry, ...]:
        """Forget what a deployment that is gone was served with; what it was."""
        with self._mutex:
            return self._memory.forget(name)

    def remember(self) -> Mapping[str, Deployment]:
        """Note what is served, and who has what several want; every deployment by name.

        It is served on while a file cannot be read, and whoever has a host keeps it.
        """
        with self._mutex:
            there = {one.name: one for one in self.deployments()}
            self._hold(self._table(list(there.values())))
            served = ((name, self.served(one)) for name, one in there.items())
            self._memory.remember({name: entries for name, entries in served if entries})
            return there

    # --- within ---------------------------------------------------------------------------------

    def _table(self, deployments: Sequence[Deployment]) -> Table:
        settings = self._ctx.settings(DomainSettings)
        served = self._served(deployments)
        if self._holders is None:
            last = sorted({**self._memory.last, **self._memory.kept}.items())
            self._holders = build(last, holders=self._memory.contests).claims
        key = (served, settings.panel_domain, settings.panel_ssl, self._holders)
        if self._built is None or self._built[0] != key:
            self._built = (key, build(*key))
        self._looked = time.monotonic()
        return self._built[1]

    def _hold(self, table: Table) -> None:
        self._memory.decide(table.contested)
        if self._built is not None:
            # Made with its own claims it would be the same again.
            self._built = ((*self._built[0][:-1], table.claims), table)
        self._holders = table.claims

    def _served(self, deployments: Sequence[Deployment]) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
        served = {one.name: self.served(one) for one in deployments if one.name not in self._going}
        for name, entries in self._memory.kept.items():
            served.setdefault(name, entries)
        self._forget(deployments)
        return tuple((name, served[name]) for name in sorted(served) if served[name])

    def _stored(self, name: str) -> Iterator[tuple[str, Entry]]:
        """Every entry of every deployment but one, those that are coming and kept included."""
        found: dict[str, Sequence[Entry]] = {}
        with self._mutex:
            for one in self.deployments():
                unreadable = one.metadata is None
                found[one.name] = self.served(one) if unreadable else self.reading(one).entries
            more: tuple[Mapping[str, Sequence[Entry]], ...] = (self._memory.kept, self._coming)
            for entries in more:
                for owner, known in entries.items():
                    found.setdefault(owner, known)
        for owner in sorted(found):
            if owner != name:
                yield from ((owner, entry) for entry in found[owner])

    def _forget(self, deployments: Sequence[Deployment]) -> None:
        if len(self._readings) > len(deployments):
            names = {one.name for one in deployments}
            for name in [name for name in self._readings if name not in names]:
                del self._readings[name]


REGISTRY: ServiceKey[Registry] = ServiceKey("domains.registry", "domains")
