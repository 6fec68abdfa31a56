"""``CERTIFICATES``: what other plugins ask of certificates."""

import dataclasses
from collections.abc import Collection, Sequence
from datetime import datetime

from flatrun_certificates import due, handshake, remains
from flatrun_certificates.errors import Stopped
from flatrun_certificates.issuance import (
    ISSUANCE,
    STORE,
    Had,
    Issuance,
    Wanted,
    lineage_name,
    refuse_while_waiting,
)
from flatrun_certificates.lineages import Lineage
from flatrun_certificates.paths import PLACES
from flatrun_certificates.renewal_info import moment as moment_in
from flatrun_certificates.settings import STAGING, CertbotSettings
from flatrun_certificates.state import STATES, States
from flatrun_certificates.store import Store
from flatrun_certificates.usage import Usage
from flatrun_core import Invalid, PluginContext
from flatrun_core.db import now
from flatrun_core.ports.certificates import Certificate
from flatrun_core.ports.proxy import PROXY
from flatrun_core.ports.scheduling import LOCKS

WAIT_TO_DELETE = 60.0  # seconds


class CertificateService:
    """Implements ``CERTIFICATES``."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx

    @property
    def settings(self) -> CertbotSettings:
        """The settings of now."""
        return self._ctx.settings(CertbotSettings)

    @property
    def store(self) -> Store:
        """The files."""
        return self._ctx.services.get(STORE)

    @property
    def states(self) -> States:
        """What was written down."""
        return self._ctx.services.get(STATES)

    @property
    def issuance(self) -> Issuance:
        """Makes attempts."""
        return self._ctx.services.get(ISSUANCE)

    def usage(self) -> Usage:
        """The routed hosts of now."""
        return Usage(self._ctx)

    def lookup(self, hosts: Sequence[str]) -> Certificate | None:
        """The best usable certificate; see the port."""
        found = self.store.lookup(hosts)
        return self.with_due(found) if found is not None else None

    def all(self) -> Sequence[Certificate]:
        """Every certificate that can be used, by name."""
        return [self.with_due(one) for one in self.store.all()]

    def to_renew(self) -> list[Certificate]:
        """What is due, by time or because its newest files are damaged, by name."""
        found = [(one, self.store.certificate(one)) for one in self.store.lineages()]
        known = [(lineage, self.with_due(one)) for lineage, one in found if one is not None]
        return [one for lineage, one in known if one.due or lineage.problem]

    def broken(self) -> list[Lineage]:
        """The lineages in which nothing can be used, by name."""
        return [one for one in self.store.lineages() if one.leaf is None]

    def ensure(self, hosts: Sequence[str], *, deployment: str | None = None) -> Certificate:
        """The certificate that covers all hosts, asked for when there is none; see the port."""
        return self.obtain(hosts, deployment=deployment).certificate

    def obtain(self, hosts: Sequence[str], *, deployment: str | None = None, by_person: bool = False) -> Had:
        """As ``ensure``, with the issuer's words; a person may ask again before the wait is over."""
        wanted = tuple(dict.fromkeys(hosts))
        if not wanted:
            raise Invalid("A certificate needs at least one name")
        present = self._enough(wanted, by_person=by_person)
        if present is not None:
            return present
        name = lineage_name(wanted)
        refuse_while_waiting(self.states, name, now(), by_person=by_person)
        had = self.issuance.attempt(
            Wanted(name, wanted, deployment, force=self._must_replace(wanted), by_person=by_person),
            is_due=lambda one: self.plan(one).due,
            enough=lambda: self._enough(wanted, by_person=by_person),
        )
        return dataclasses.replace(had, certificate=self.with_due(had.certificate))

    def confirm(self, certificate: Certificate) -> str:
        """Ask the running proxy; empty when it serves this certificate, or no site uses it."""
        hosts = self.serving(certificate)
        if not hosts:
            return ""
        endpoints = self._ctx.services.get(PROXY).endpoints()
        problem = handshake.confirm(certificate, endpoints, hosts)
        if endpoints.https:
            self.states.served(certificate.name, certificate.fingerprint, problem)
            if problem:
                self._ctx.log.warning("the certificate '%s' is not served: %s", certificate.name, problem)
        return problem

    def advice(self, hosts: Sequence[str]) -> Sequence[str]:
        """What would keep the authority from issuing; see the port."""
        try:
            return self.issuance.advice(tuple(dict.fromkeys(hosts)))
        except Stopped:
            return ()

    def release(self, hosts: Sequence[str]) -> Sequence[str]:
        """Delete the certificates of these hosts that no site uses any more; the names of those gone."""
        usage = self.usage()
        asked = set(hosts)
        unused = []
        for lineage in self.store.lineages():
            one = self.store.certificate(lineage)
            domains = one.domains if one is not None else (lineage.name,)
            used = usage.covered(domains).keys() - asked or (one is not None and self.serving(one))
            if asked & set(domains) and not used:
                unused.append(lineage.name)
        for name in unused:
            self.delete(name)
        self.forget(asked)
        return unused

    def wanted(self, usage: Usage | None = None) -> dict[str, tuple[str, ...]]:
        """The lineages that routed entries want, whether they are there or not, each with its hosts."""
        usage = usage or self.usage()
        entries = {usage.together(host) for host in usage.hosts if usage.wants_tls(host)}
        return {lineage_name(hosts): hosts for hosts in entries}

    def forget(self, hosts: Collection[str]) -> None:
        """Forget failures for hosts that nobody wants a certificate for any more.

        What the authority itself asked to wait for is kept: it counts for whoever asks next.
        """
        moment, wanted = now(), self.wanted()
        states = [self.states.of(name) for name in {lineage_name((host,)) for host in hosts} - wanted.keys()]
        gone = [
            state.name
            for state in states
            if not (state.last_kind == "rateLimited" and state.waiting(moment))
            and self.store.lineage(state.name) is None
        ]
        if gone:
            self.states.drop(gone)

    def delete(self, name: str) -> None:
        """Forget a lineage and its state; raises ``Failed``."""
        locks = self._ctx.services.get(LOCKS)
        with locks.hold("certificate", wait=WAIT_TO_DELETE):
            self.issuance.issuers.current().delete(name)
            # Marks are this panel's, whoever made the files.
            remains.remove(self._ctx.services.get(PLACES).folders(), name)
        self.states.drop([name])
        self.store.forget()

    def serving(self, certificate: Certificate) -> list[str]:
        """The hosts that are to be served with it, sorted."""
        usage = self.usage()
        wanting = sorted(usage.wanting_tls(certificate))
        return [host for host in wanting if self._is_for(certificate, usage.together(host))]

    def plan(self, certificate: Certificate, moment: datetime | None = None) -> due.Plan:
        """When it is to be renewed."""
        window = self.states.of(certificate.name).window_of(certificate.fingerprint)
        return due.plan(
            certificate,
            moment or now(),
            threshold_days=self.settings.renewal_threshold_days,
            window=moment_in(window, certificate.fingerprint) if window is not None else None,
        )

    def with_due(self, certificate: Certificate) -> Certificate:
        """The certificate, with ``due`` as of now."""
        return dataclasses.replace(certificate, due=self.plan(certificate).due)

    def is_test(self, certificate: Certificate) -> bool:
        """Whether it is of the test directory while another one is set."""
        return certificate.staging and self.settings.directory != STAGING and not self.settings.server

    def reissues(self, lineage: Lineage, certificate: Certificate, hosts: Sequence[str]) -> bool:
        """Whether renewal means asking anew: for other names, or of another authority."""
        ours = lineage.authenticator in ("webroot", "flatrun-dns")
        return ours and (set(hosts) != set(certificate.domains) or self.is_test(certificate))

    def _is_for(self, certificate: Certificate, hosts: Sequence[str]) -> bool:
        found = self.store.lookup(hosts)
        return found is not None and found.name == certificate.name

    def _enough(self, hosts: Sequence[str], *, by_person: bool) -> Had | None:
        """What is there already, if it does; a person who asks for a due one gets a new one."""
        found = self.lookup(hosts)
        if found is None or not found.covers(hosts) or found.not_after <= now() or self.is_test(found):
            return None
        same = remains.is_of(found.name, lineage_name(hosts)) and set(found.domains) == set(hosts)
        if by_person and (found.due or not same):
            return None
        return Had(found, "A certificate for these names is there already and is kept.", new=False)

    def _must_replace(self, hosts: Sequence[str]) -> bool:
        found = self.lookup(hosts)
        return found is not None and self.is_test(found)
