"""One attempt at a certificate, from the look beforehand to what is written down afterwards."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from flatrun_certificates.errors import NotReady, ProxyDown, Stopped, TooMany, fault_of
from flatrun_certificates.faults import Fault
from flatrun_certificates.issuers import ISSUERS, Issuers
from flatrun_certificates.paths import PLACES, Places
from flatrun_certificates.preflight import Finding, Preflight
from flatrun_certificates.renewal_info import authority_caa_names
from flatrun_certificates.settings import CertbotSettings
from flatrun_certificates.state import STATES, States
from flatrun_certificates.store import Store
from flatrun_core import Failed, FlatrunError, Invalid, PluginContext, ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.certificates import (
    DNS_RECORDS,
    Certificate,
    CertificateEvent,
    CertificateRequest,
    Issued,
)
from flatrun_core.ports.proxy import PANEL, PROXY
from flatrun_core.ports.scheduling import LOCKS

WAIT_FOR_TURN: Final = 600.0  # seconds
_AUTHORITY_TIMEOUT: Final = 5.0
_ADVICE_SECONDS: Final = 10.0
_UNWILDCARD: Final = "_wildcard."
_STILL_DUE: Final = (
    "The certificate that was just issued is due for renewal at once: the clock of this host may be wrong."
)
_CLOCK_WAIT: Final = timedelta(days=1)
STORE: Final[ServiceKey[Store]] = ServiceKey("certificates.store", "certificates")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate to be had: ``name`` its lineage, ``deployment`` for whom, ``by_person`` who asks."""

    name: str
    hosts: tuple[str, ...]
    deployment: str | None = None
    force: bool = False
    renewal: bool = False
    by_person: bool = False


@dataclass(frozen=True, slots=True)
class Had:
    """A certificate that was had; ``new`` tells that it is another one than before."""

    certificate: Certificate
    output: str
    new: bool
    warnings: tuple[str, ...] = field(default=())


class Issuance:
    """Makes attempts, one at a time."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._advised: dict[tuple[str, ...], tuple[float, Sequence[str]]] = {}

    def attempt(
        self, wanted: Wanted, *, is_due: Callable[[Certificate], bool], enough: Callable[[], Had | None]
    ) -> Had:
        """Get a certificate, in this thread's turn.

        ``enough`` answers when the turn has come whether it is still needed. Raises ``Invalid`` for a
        setting, ``ProxyDown`` without asking, ``TooMany`` when the authority asked to wait or an attempt
        failed while this one waited for its turn,
        ``NotReady``, ``Failed`` or ``TimedOut``; of these what failed is written down.
        """
        self.check_settings(wanted.hosts)
        if self.by_http(wanted) and self.proxy_is_down():
            raise ProxyDown
        locks = self._ctx.services.get(LOCKS)
        with locks.hold("certificate", wait=WAIT_FOR_TURN):
            found = enough()
            if found is not None:
                return found
            # Whoever had the turn before may have failed at the same name.
            refuse_while_waiting(self.states, wanted.name, now(), by_person=wanted.by_person)
            had, failure = self._try(wanted, is_due)
        # Whoever hears of it may want locks that come before this one.
        self._tell(wanted, had, failure)
        if had is None:
            raise failure or AssertionError("neither a certificate nor a failure")
        return had

    def advice(self, hosts: Sequence[str]) -> Sequence[str]:
        """What would keep the authority from issuing, a sentence each; nothing where looking is off."""
        if self.settings.preflight == "off" or self.issuers.current().name != "certbot":
            return ()
        # What keeps a name from being resolved keeps its other records from being read too.
        texts = (finding.text for finding in self._findings(hosts) if not finding.ok)
        found = list(dict.fromkeys(texts))
        self._advised = {tuple(hosts): (time.monotonic(), found)}
        return found

    def check_settings(self, hosts: Sequence[str]) -> None:
        """Raise ``Invalid`` when nothing can be asked with these settings."""
        self.issuers.current()
        if self.issuers.current().name == "certbot" and not self.settings.email:
            raise Invalid("Set certbot.email first: the authority wants an address it can write to")
        for host in hosts:
            if host.startswith("*.") and not self._by_dns(host):
                raise Invalid(
                    f"A certificate for {host} is proven by DNS, and no plugin can change the zone of "
                    f"{host.removeprefix('*.')}: set up a DNS provider for it, or name the hosts one by one"
                )

    def by_http(self, wanted: Wanted) -> bool:
        """Whether the authority would fetch a proof from the proxy."""
        if self.issuers.current().name != "certbot":
            return False
        if not wanted.renewal:
            return not self._proven_by_dns(wanted.hosts)
        lineage = self.store.lineage(wanted.name)
        return lineage is not None and lineage.authenticator == "webroot"

    def proxy_is_down(self) -> bool:
        """Whether a proxy is active and does not run."""
        proxy = self._ctx.services.get(PROXY)
        if proxy.endpoints().http:
            return False
        try:
            applied = proxy.apply()
        except FlatrunError:
            # One that cannot be given its sites is there, and answers nowhere.
            return True
        return not (applied.skipped or proxy.endpoints().http)

    @property
    def settings(self) -> CertbotSettings:
        """The settings of now."""
        return self._ctx.settings(CertbotSettings)

    @property
    def issuers(self) -> Issuers:
        """Who can be asked."""
        return self._ctx.services.get(ISSUERS)

    @property
    def states(self) -> States:
        """What was written down."""
        return self._ctx.services.get(STATES)

    @property
    def store(self) -> Store:
        """The files."""
        return self._ctx.services.get(STORE)

    def _try(
        self, wanted: Wanted, is_due: Callable[[Certificate], bool]
    ) -> tuple[Had | None, Exception | None]:
        before = {one.fingerprint for one in self.store.all()}
        warnings: Sequence[str] = ()
        try:
            warnings = self._look_first(wanted)
            issued = self._ask(wanted)
            certificate = self._result(issued.name)
        except Stopped:
            raise
        except Exception as exc:  # noqa: BLE001 - raised again once it is written down
            self._failed(wanted, fault_of(exc), warnings or _words(exc))
            return None, exc
        had = Had(certificate, issued.output, certificate.fingerprint not in before, tuple(warnings))
        self._succeeded(wanted, had, is_due)
        return had, None

    def _tell(self, wanted: Wanted, had: Had | None, failure: Exception | None) -> None:
        deployment = wanted.deployment if wanted.deployment != PANEL else None
        if failure is not None:
            reason = fault_of(failure).reason
            failed = CertificateEvent(wanted.name, wanted.hosts, deployment, error=reason)
            self._ctx.hooks.notify("flatrun_on_certificate_failed", event=failed)
        elif had is not None and had.new:
            event = CertificateEvent(wanted.name, had.certificate.domains, deployment)
            self._ctx.hooks.notify("flatrun_on_certificate_issued", event=event)

    def _ask(self, wanted: Wanted) -> Issued:
        issuer = self.issuers.current()
        if wanted.renewal:
            return issuer.renew(wanted.name, force=True)
        challenge = "dns-01" if self._proven_by_dns(wanted.hosts) else "http-01"
        return issuer.issue(CertificateRequest(wanted.name, wanted.hosts, challenge, wanted.force))

    def _result(self, name: str) -> Certificate:
        self.store.forget()
        lineage = self.store.lineage(name)
        found = self.store.certificate(lineage) if lineage is not None else None
        if found is None or (lineage is not None and lineage.problem):
            problem = lineage.problem if lineage is not None else "there is none"
            raise Failed(f"The issuer left no certificate that can be used: {problem}", code="CERTBOT_FAILED")
        return found

    def _look_first(self, wanted: Wanted) -> Sequence[str]:
        # Whoever publishes a site asks for advice, and for the certificate in the next moment.
        at, known = self._advised.pop(wanted.hosts, (0.0, ()))
        warnings = known if time.monotonic() - at < _ADVICE_SECONDS else self.advice(wanted.hosts)
        if warnings and self.settings.preflight == "require":
            raise NotReady(" ".join(warnings))
        return warnings

    def _findings(self, hosts: Sequence[str]) -> Sequence[Finding]:
        settings = self.settings
        places: Places = self._ctx.services.get(PLACES)
        preflight = Preflight(
            settings.resolver,
            settings.http01_port,
            places.folders().webroot,
            self._ctx.services.get(PROXY).endpoints,
            lambda: authority_caa_names(
                settings.directory, settings.ca_file or None, timeout=_AUTHORITY_TIMEOUT
            ),
        )
        return preflight.check(list(hosts), wildcard=self._proven_by_dns(hosts))

    def _proven_by_dns(self, hosts: Sequence[str]) -> bool:
        if any(host.startswith("*.") for host in hosts):
            return True
        return bool(self.settings.dns_provider) and all(self._by_dns(host) for host in hosts)

    def _by_dns(self, host: str) -> bool:
        records = self._ctx.services.find(DNS_RECORDS)
        return records is not None and records.covers(host.removeprefix("*."))

    def _succeeded(self, wanted: Wanted, had: Had, is_due: Callable[[Certificate], bool]) -> None:
        certificate = had.certificate
        self.states.succeeded(wanted.name, had.warnings)
        if had.new and is_due(certificate):
            # Or each look would ask for another one until the authority takes no more requests.
            self.states.failed(wanted.name, Fault("clock", _STILL_DUE, wait=_CLOCK_WAIT), had.warnings)
        self._ctx.log.info(
            "the certificate '%s' for %s is valid until %s",
            *(certificate.name, ", ".join(certificate.domains), certificate.not_after),
        )

    def _failed(self, wanted: Wanted, fault: Fault, warnings: Sequence[str]) -> None:
        state = self.states.failed(wanted.name, fault, warnings)
        self.store.forget()
        self._ctx.log.warning(
            "the certificate '%s' for %s could not be had (%d. failure in a row, next attempt %s): %s",
            *(wanted.name, ", ".join(wanted.hosts), state.failures, state.next_attempt_at, fault.reason),
        )


def lineage_name(hosts: Sequence[str]) -> str:
    """The lineage of an entry; an underscore, which no host has, keeps a wildcard's from the bare name's."""
    first = hosts[0]
    return _UNWILDCARD + first.removeprefix("*.") if first.startswith("*.") else first


def refuse_while_waiting(states: States, name: str, moment: datetime, *, by_person: bool) -> None:
    """Raise ``TooMany`` while an earlier failure counts.

    A person may try again at once, except where the authority itself asked to wait: each request
    before then makes it worse.
    """
    state = states.of(name)
    if not state.waiting(moment) or state.next_attempt_at is None:
        return
    if by_person and state.last_kind != "rateLimited":
        return
    until = state.next_attempt_at
    text = f"The last attempt failed, the next one is at {until:%Y-%m-%d %H:%M} UTC: {state.last_error}"
    raise TooMany(text, until - moment)


def _words(error: Exception) -> Sequence[str]:
    return (error.message,) if isinstance(error, NotReady) else ()


ISSUANCE: Final[ServiceKey[Issuance]] = ServiceKey("certificates.issuance", "certificates")
