"""Renewal: what is due is asked for again, one after the other, and shown to be served."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from flatrun_certificates import remarks, renewal_info
from flatrun_certificates.due import every
from flatrun_certificates.errors import ProxyDown, Stopped, fault_of, in_full
from flatrun_certificates.faults import tail
from flatrun_certificates.issuance import Had, Wanted, refuse_while_waiting
from flatrun_certificates.lineages import Lineage
from flatrun_certificates.service import CertificateService
from flatrun_core import FlatrunError, PluginContext, ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.auth import RECORD, SYSTEM, Actor, RecordedEvent
from flatrun_core.ports.certificates import Certificate
from flatrun_core.ports.proxy import PANEL, PROXY

_ASK_SECONDS: Final = 5.0
_ASK_AGAIN: Final = timedelta(hours=6)
_CONFIRM_AGAIN: Final = timedelta(hours=12)
_CONFIRM_SECONDS: Final = 60.0
_BROKEN: Final = (
    "Nothing in it can be used ({problem}), and no entry that wants TLS says which names it is for: "
    "request a certificate for its names, or delete it."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one renewal ended; ``error`` is empty for a success.

    ``attempted`` is False where nobody could be asked.
    """

    name: str
    certificate: Certificate | None
    message: str
    error: str = ""
    proxy_down: bool = False
    attempted: bool = True

    @property
    def success(self) -> bool:
        """Whether there is a new certificate."""
        return not self.error


class Renewals:
    """Renews; one pass at a time, as certificates are asked for one at a time."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._directories = renewal_info.Directories()

    @property
    def service(self) -> CertificateService:
        """What knows the certificates."""
        return self._ctx.services.get(SERVICE)

    def pass_over(self, ended: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """The work of the background: everything that is due and may be renewed by itself.

        ``ended`` tells between steps that the pass is to stop.
        """
        self.ask_windows()
        moment = now()
        chosen = [
            one
            for one in self.service.to_renew()
            if one.auto_renew and not self.service.states.of(one.name).waiting(moment)
        ]
        outcomes = self.renew(self._possible(chosen), actor=SYSTEM.actor, ended=ended)
        published = [] if ended() else self._retry_missing(moment)
        if not ended():
            self._look_back()
        return {
            "renewed": [one.name for one in outcomes if one.success],
            "failed": [one.name for one in outcomes if not one.success],
            "published": published,
        }

    def renew(
        self,
        chosen: Sequence[Certificate],
        broken: Sequence[Lineage] = (),
        *,
        actor: Actor | None = None,
        ended: Callable[[], bool] = lambda: False,
    ) -> list[Outcome]:
        """Renew these now, due or not, then let the proxy take what is new.

        A failure does not stop the others; a panel that ends does. With an ``actor`` each is written
        into the record; a request's own record needs none. Of ``broken``, in which nothing can be
        used, those are had anew that an entry wants.
        """
        outcomes: list[Outcome] = []
        try:
            for certificate in chosen:
                if ended():
                    break
                outcomes.append(self._renew_one(certificate, actor))
            outcomes += [self._have_anew(lineage) for lineage in broken]
        except Stopped:
            self._ctx.log.info("the panel is being stopped: the other certificates wait until it runs")
        fresh = [one.certificate for one in outcomes if one.success and one.certificate is not None]
        if fresh:
            self.serve(fresh)
        return outcomes

    def serve(self, fresh: Sequence[Certificate], changed: Sequence[str] = (), *, force: bool = True) -> None:
        """Have the proxy take new files, and see that it did; what fails is only logged.

        Without ``force`` the proxy reloads only if its sites are others than before.
        """
        self.service.store.forget()
        try:
            applied = self._ctx.services.get(PROXY).apply(changed, force=force)
        except Exception:
            self._ctx.log.exception("the proxy did not take the new certificates")
            return
        if applied.serving:
            for certificate in fresh:
                self.service.confirm(certificate)

    def ask_windows(self) -> None:
        """Ask the authority when it wants its certificates renewed, where that is to be asked again."""
        moment, slow = now(), set[str]()
        for lineage in self.service.store.lineages():
            certificate = self.service.store.certificate(lineage)
            if certificate is None or moment >= certificate.not_after:
                continue
            state = self.service.states.of(lineage.name)
            known = state.window_fingerprint == certificate.fingerprint
            if known and state.window_next_poll is not None and moment < state.window_next_poll:
                continue
            self._ask_window(lineage, certificate, moment, slow)

    def shortest_lifetime(self) -> timedelta | None:
        """The shortest lifetime of a certificate that is renewed by itself."""
        lifetimes = [one.not_after - one.not_before for one in self.service.store.all() if one.auto_renew]
        return min(lifetimes, default=None)

    def interval(self) -> timedelta:
        """The time between two passes, by the settings of now."""
        return every(self.service.settings.renewal_check_interval, self.shortest_lifetime())

    def _ask_window(
        self, lineage: Lineage, certificate: Certificate, moment: datetime, slow: set[str]
    ) -> None:
        settings = self.service.settings
        if not lineage.server or lineage.server in slow:
            return
        started = time.monotonic()
        window = renewal_info.ask(
            lineage.server,
            Path(settings.ca_file) if settings.ca_file else None,
            lineage.files.leaf.read_bytes(),
            timeout=_ASK_SECONDS,
            directories=self._directories,
        )
        if window is None and time.monotonic() - started >= _ASK_SECONDS:
            slow.add(lineage.server)
        poll = window.next_poll if window is not None else moment + _ASK_AGAIN
        self.service.states.window(lineage.name, certificate.fingerprint, window, poll)

    def _renew_one(self, certificate: Certificate, actor: Actor | None) -> Outcome:
        def work() -> Had:
            if actor is None:
                refuse_while_waiting(self.service.states, certificate.name, now(), by_person=True)
            return self._again(certificate, by_person=actor is None)

        outcome = self._outcome(certificate.name, work)
        if actor is not None:
            self._write(certificate, outcome, actor)
        return outcome

    def _have_anew(self, lineage: Lineage) -> Outcome:
        usage = self.service.usage()
        hosts = self.service.wanted(usage).get(lineage.name, ())
        if not hosts:
            text = _BROKEN.format(problem=lineage.problem)
            return Outcome(lineage.name, None, text, text, attempted=False)
        deployment = usage.owner(hosts[0])
        return self._outcome(
            lineage.name, lambda: self.service.obtain(hosts, deployment=deployment, by_person=True)
        )

    def _outcome(self, name: str, work: Callable[[], Had]) -> Outcome:
        try:
            had = work()
            return Outcome(name, had.certificate, tail(had.output))
        except Stopped:
            raise
        except Exception as exc:
            if not fault_of(exc).kind:
                self._ctx.log.debug("the renewal of '%s' failed", name, exc_info=True)
            return Outcome(name, None, in_full(exc), fault_of(exc).reason, isinstance(exc, ProxyDown))

    def _possible(self, chosen: Sequence[Certificate]) -> Sequence[Certificate]:
        """Those that can be proven now: without a running proxy, the authority would find nothing."""
        issuance = self.service.issuance
        if not chosen or not issuance.proxy_is_down():
            return chosen
        possible = [one for one in chosen if not issuance.by_http(self._wanted(one))]
        if len(possible) < len(chosen):
            self._ctx.log.warning(
                "the proxy does not run: certificates wait with their renewal until it does"
            )
        return possible

    def _again(self, certificate: Certificate, *, by_person: bool) -> Had:
        return self.service.issuance.attempt(
            replace(self._wanted(certificate), by_person=by_person),
            is_due=lambda one: self.service.plan(one).due,
            enough=lambda: self._renewed_meanwhile(certificate),
        )

    def _wanted(self, certificate: Certificate) -> Wanted:
        usage = self.service.usage()
        lineage = self.service.store.need(certificate.name)
        hosts = certificate.domains
        if usage.owner(certificate.name) is not None:
            hosts = usage.together(certificate.name)
        renewal = not self.service.reissues(lineage, certificate, hosts)
        owners = usage.owners(certificate.domains)
        return Wanted(
            name=certificate.name,
            hosts=certificate.domains if renewal else hosts,
            deployment=owners[0] if owners else None,
            force=True,
            renewal=renewal,
        )

    def _renewed_meanwhile(self, certificate: Certificate) -> Had | None:
        lineage = self.service.store.lineage(certificate.name)
        found = self.service.store.certificate(lineage) if lineage is not None else None
        if found is None or found.not_before <= certificate.not_before:
            return None
        return Had(found, "It was renewed a moment ago.", new=True)

    def _write(self, certificate: Certificate, outcome: Outcome, actor: Actor) -> None:
        event = RecordedEvent(
            action="certificates.renew",
            resource_type="certificate",
            resource_id=certificate.name,
            actor=actor,
            error=outcome.error,
            metadata={"domains": list(certificate.domains)},
        )
        try:
            self._ctx.services.get(RECORD).write(event)
        except Exception:
            self._ctx.log.exception("the renewal of '%s' could not be recorded", certificate.name)

    def _retry_missing(self, moment: datetime) -> list[str]:
        """Publish again the deployments with an entry that wants TLS and has no certificate."""
        usage, wanting = self.service.usage(), set[str]()
        for host, deployment in usage.hosts.items():
            # The panel's own domain is looked after by whoever keeps the routes.
            if deployment in wanting or deployment == PANEL or not usage.wants_tls(host):
                continue
            hosts = usage.together(host)
            found = self.service.lookup(hosts)
            waiting = self.service.states.of(hosts[0]).waiting(moment)
            if not waiting and (found is None or not found.covers(hosts)):
                wanting.add(deployment)
        for deployment in sorted(wanting):
            try:
                usage.publish(deployment)
            except FlatrunError as exc:
                self._ctx.log.warning("'%s' could not be given its certificate: %s", deployment, exc)
            except Exception:
                self._ctx.log.exception("'%s' could not be published", deployment)
        return sorted(wanting)

    def _look_back(self) -> None:
        """See what is served and what is late, and forget what is over."""
        self._look_at_served()
        self._say_what_is_late()
        there = {lineage.name for lineage in self.service.store.lineages()}
        self.service.states.tidy(there | self.service.wanted().keys())

    def _look_at_served(self) -> None:
        """Ask the proxy about certificates it was not asked about for a while."""
        until, moment = time.monotonic() + _CONFIRM_SECONDS, now()
        if not self._ctx.services.get(PROXY).endpoints().https:
            return
        for certificate in self.service.all():
            state = self.service.states.of(certificate.name)
            fresh = state.served_checked_at is not None and moment - state.served_checked_at < _CONFIRM_AGAIN
            if fresh and state.served_fingerprint == certificate.fingerprint and not state.served_problem:
                continue
            if time.monotonic() >= until:
                return
            self.service.confirm(certificate)

    def _say_what_is_late(self) -> None:
        moment = now()
        for certificate in self.service.all():
            state, plan = self.service.states.of(certificate.name), self.service.plan(certificate, moment)
            late = remarks.overdue(certificate, state, plan, self.service.settings, moment)
            if late:
                self._ctx.log.warning("the certificate '%s' is late: %s", certificate.name, late)


SERVICE: Final[ServiceKey[CertificateService]] = ServiceKey("certificates.service", "certificates")
RENEWALS: Final[ServiceKey[Renewals]] = ServiceKey("certificates.renewals", "certificates")
