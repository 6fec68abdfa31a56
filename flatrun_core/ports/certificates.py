"""Certificates as other plugins see them, and the issuers and records they are had with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from flatrun_core.services import ServiceKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key, both readable and belonging together.

    ``name`` is the lineage's, ``domains`` every name it covers, ``issuer`` the authority's common
    name or else its organisation. ``leaf``, ``chain`` and ``key`` are PEM files: usually the newest,
    an earlier one of the lineage while the newest is damaged. ``fingerprint`` is the leaf's SHA-256
    in hex; ``ocsp`` says that the leaf names a responder; ``due`` that it should be renewed now.
    """

    name: str
    domains: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime
    leaf: Path
    chain: Path
    key: Path
    fingerprint: str
    ocsp: bool = False
    staging: bool = False
    due: bool = False
    auto_renew: bool = True

    def covers(self, hosts: Sequence[str]) -> bool:
        """Whether every host is among the names; ``*.example.com`` stands for one label."""
        return all(host in self.domains or f"*.{host.partition('.')[2]}" in self.domains for host in hosts)


class Certificates(Protocol):
    """The certificates of this panel. ``hosts`` is a primary name followed by its aliases."""

    def lookup(self, hosts: Sequence[str]) -> Certificate | None:
        """The best usable certificate, without asking anybody.

        One that covers all hosts comes before one that covers the first only; among equals the one
        that ends last. None when none covers the first. Costs no parsing while files stay the same.
        """

    def ensure(self, hosts: Sequence[str], *, deployment: str | None = None) -> Certificate:
        """The certificate that covers all hosts, asked from the authority when there is none.

        May take minutes; neither a deployment's nor the proxy's lock may be held. The proxy must
        already answer plain HTTP for the hosts. Raises ``Invalid`` when a setting is missing,
        ``Failed`` ``CERTBOT_FAILED`` with what the authority said, ``RateLimited`` while an earlier
        failure still counts.
        """

    def confirm(self, certificate: Certificate) -> str:
        """Ask the running proxy by a TLS handshake; empty when it serves this certificate, else why not."""

    def advice(self, hosts: Sequence[str]) -> Sequence[str]:
        """What would keep an authority from issuing for the hosts now, a sentence each; asks the network."""

    def release(self, hosts: Sequence[str]) -> Sequence[str]:
        """Delete the certificates of these hosts that no site uses any more; the names of those gone."""


CERTIFICATES: ServiceKey[Certificates] = ServiceKey("certificates", "certificates")


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What an issuer is asked for.

    ``name`` is the lineage's, ``hosts`` every name, the primary first; ``force`` asks for a new one
    although the present one would do. ``challenge`` is http-01 or dns-01.
    """

    name: str
    hosts: tuple[str, ...]
    challenge: str = "http-01"
    force: bool = False


@dataclass(frozen=True, slots=True)
class Issued:
    """What an issuer left: PEM files in ``live/<name>``, and its own words."""

    name: str
    output: str


class Issuer(Protocol):
    """Gets certificates from somewhere; ``certificates.issuer`` names the one in use."""

    name: str

    def issue(self, request: CertificateRequest) -> Issued:
        """Get a certificate; raises ``Failed`` with the reason. One call at a time."""

    def renew(self, name: str, *, force: bool) -> Issued:
        """Get a new one for a lineage that is there; raises ``Failed`` and leaves the old one."""

    def delete(self, name: str) -> None:
        """Forget a lineage, its files included; raises ``Failed``."""


@dataclass(frozen=True, slots=True)
class CertificateEvent:
    """A fact about a certificate; ``error`` only when it could not be had."""

    name: str
    domains: tuple[str, ...]
    deployment: str | None = None
    error: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


class DnsRecords(Protocol):
    """Records in zones that this panel can change, for proofs by DNS."""

    def covers(self, name: str) -> bool:
        """Whether some provider can change the zone a name is in."""

    def present(self, name: str, type: str, value: str) -> None:
        """Add one value to a record set, beside those that are there; raises when nobody has the zone."""

    def withdraw(self, name: str, type: str, value: str) -> None:
        """Take that value out again; absent is no error."""


DNS_RECORDS: ServiceKey[DnsRecords] = ServiceKey("dns_records", "dns")
