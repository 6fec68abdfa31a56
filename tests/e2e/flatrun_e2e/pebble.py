"""A real ACME authority of the test's own: pebble, with the DNS server that it asks."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flatrun_e2e.ports import Ports

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = REPOSITORY / ".cache"
START_SECONDS = 30
ANSWER_SECONDS = 10


@dataclass(frozen=True)
class ApiCertificate:
    """What servers of a test show on 127.0.0.1: PEM files of the CA, of the leaf and of its key."""

    ca: Path
    leaf: Path
    key: Path


@dataclass(frozen=True)
class PebbleOptions:
    """How an authority behaves.

    Attributes:
        http_port: the port at which proofs over HTTP are fetched.
        nonce_reject: of a hundred good nonces, how many are refused.
        authz_reuse: of a hundred orders, how many find the earlier proof still good.
        validity: of a certificate, in seconds.
        eab: key id and key (base64url) of accounts elsewhere; none may come without when given.
        blocked: names for which it never issues.
    """

    http_port: int
    nonce_reject: int = 0
    authz_reuse: int = 0
    validity: int = 90 * 86400
    eab: Mapping[str, str] = field(default_factory=dict)
    blocked: Sequence[str] = ()


class ChallengeDns:
    """The DNS server that the authority asks: every name is 127.0.0.1 until told otherwise.

    Attributes:
        address: where it answers, as `address:port`.
        management: where it is told what to answer.
    """

    def __init__(self, address: str, management: str) -> None:
        self.address = address
        self.management = management
        self._http = _session()

    def add_a(self, host: str, *addresses: str) -> None:
        """Give a name these IPv4 addresses."""
        self._tell("add-a", host=host, addresses=list(addresses))

    def clear_a(self, host: str) -> None:
        """Give a name the default address again."""
        self._tell("clear-a", host=host)

    def add_aaaa(self, host: str, *addresses: str) -> None:
        """Give a name these IPv6 addresses."""
        self._tell("add-aaaa", host=host, addresses=list(addresses))

    def set_servfail(self, host: str) -> None:
        """Answer every question about a name with SERVFAIL."""
        self._tell("set-servfail", host=host)

    def clear_servfail(self, host: str) -> None:
        """Answer questions about a name again."""
        self._tell("clear-servfail", host=host)

    def add_txt(self, host: str, value: str) -> None:
        """Add a TXT value beside those that are there."""
        self._tell("set-txt", host=_absolute(host), value=value)

    def clear_txt(self, host: str) -> None:
        """Remove every TXT value of a name."""
        self._tell("clear-txt", host=_absolute(host))

    def add_caa(self, host: str, value: str, tag: str = "issue") -> None:
        """Say which authority may issue for a name."""
        self._tell("add-caa", host=host, policies=[{"tag": tag, "value": value}])

    def clear_caa(self, host: str) -> None:
        """Let every authority issue for a name again."""
        self._tell("clear-caa", host=host)

    def close(self) -> None:
        """Release the connection."""
        self._http.close()

    def _tell(self, path: str, **body: Any) -> None:
        answer = self._http.post(f"{self.management}/{path}", data=json.dumps(body), timeout=ANSWER_SECONDS)
        assert answer.ok, f"{path} {body}: {answer.status_code} {answer.text}"


class Pebble:
    """A running authority.

    Attributes:
        directory: the address of its directory.
        ca_file: the PEM file that its API is checked with.
        certificate: what its API shows; another server before it may show the same.
        dns: the DNS server that it asks.
        options: how it behaves.
        log_file: everything it wrote.
    """

    def __init__(self, folder: Path, ports: Ports, options: PebbleOptions) -> None:
        folder.mkdir(parents=True)
        self.options = options
        self.log_file = folder / "pebble.log"
        self.certificate = make_api_certificate(folder)
        self.ca_file = self.certificate.ca
        self._folder, self._http = folder, _session(self.ca_file)
        api, management, dns, dns_management = (f"127.0.0.1:{ports.next()}" for _ in range(4))
        self.directory = f"https://{api}/dir"
        self.api, self._management = api, f"https://{management}"
        self.dns = ChallengeDns(dns, f"http://{dns_management}")
        self._config = folder / "pebble.json"
        self._config.write_text(json.dumps({"pebble": self._settings(api, management)}), encoding="utf-8")
        self._dns_arguments = ["-dns01", dns, "-management", dns_management]
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both programs and wait until they answer."""
        self.start_dns()
        self.start_authority()

    def start_dns(self) -> None:
        """Start the DNS server; without it no name resolves."""
        nothing = [word for name in ("http01", "https01", "tlsalpn01", "doh") for word in (f"-{name}", "")]
        addresses = ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
        self._run(["pebble-challtestsrv", *nothing, *addresses, *self._dns_arguments], {})
        # Any answer of its management does: it begins to listen on both at the same time.
        self._wait(lambda: self.dns.clear_a("localhost") is None)

    def start_authority(self) -> None:
        """Start the authority itself: with keys of its own, and knowing nobody."""
        environ = {
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": str(self.options.nonce_reject),
            "PEBBLE_AUTHZREUSE": str(self.options.authz_reuse),
        }
        self._run(["pebble", "-config", str(self._config), "-dnsserver", self.dns.address], environ)
        self._wait(lambda: self._http.get(self.directory, timeout=ANSWER_SECONDS).ok)

    def stop_authority(self) -> None:
        """End the authority; whoever asks it now is refused the connection."""
        _end(self._processes.pop())

    def root(self) -> x509.Certificate:
        """Return the root that its certificates end in; another one after each start."""
        return x509.load_pem_x509_certificate(self._get("roots/0").encode())

    def status_of(self, serial: int) -> str:
        """Return what it knows of a certificate: Valid or Revoked."""
        return str(json.loads(self._get(f"cert-status-by-serial/{serial:x}"))["Status"])

    def close(self) -> None:
        """End both programs."""
        while self._processes:
            _end(self._processes.pop())
        self.dns.close()
        self._http.close()
        # pytest shows this below a test that failed, and drops it otherwise.
        sys.stdout.write(f"--- {self.log_file}\n{self.log[-6000:]}\n")

    @property
    def log(self) -> str:
        """Everything both programs wrote so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def _settings(self, api: str, management: str) -> dict[str, Any]:
        options = self.options
        return {
            "listenAddress": api,
            "managementListenAddress": management,
            "certificate": str(self.certificate.leaf),
            "privateKey": str(self.certificate.key),
            "httpPort": options.http_port,
            "tlsPort": options.http_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(options.eab),
            "externalAccountMACKeys": dict(options.eab),
            "domainBlocklist": list(options.blocked),
            "retryAfter": {"authz": 1, "order": 1},
            "certificateValidityPeriod": options.validity,
        }

    def _get(self, path: str) -> str:
        answer = self._http.get(f"{self._management}/{path}", timeout=ANSWER_SECONDS)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text}"
        return answer.text

    def _run(self, argv: list[str], environ: Mapping[str, str]) -> None:
        program = _programs() / argv[0]
        with self.log_file.open("ab") as output:
            process = subprocess.Popen(
                [str(program), *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], **environ},
            )
        self._processes.append(process)

    def _wait(self, answers: Any) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _tried(answers):
            if self._processes[-1].poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"The authority does not answer. It wrote:\n{self.log[-4000:]}")
            time.sleep(0.02)


@contextmanager
def running_pebble(folder: Path, ports: Ports, options: PebbleOptions) -> Iterator[Pebble]:
    """Return an authority that answers, and end it afterwards."""
    pebble = Pebble(folder, ports, options)
    try:
        pebble.start()
        yield pebble
    finally:
        pebble.close()


def make_api_certificate(folder: Path) -> ApiCertificate:
    """Make a CA and a certificate for 127.0.0.1 and localhost, good for a day."""
    made = ApiCertificate(folder / "api-ca.pem", folder / "api.pem", folder / "api.key")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA of the authority's API")])
    ca = _builder(ca_name, ca_name, ca_key.public_key())
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(_signs_certificates(), critical=True)
    leaf = _builder(x509.Name([]), ca_name, key.public_key())
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = leaf.add_extension(x509.SubjectAlternativeName(names), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    leaf = leaf.add_extension(issuer, critical=False)
    made.ca.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    made.leaf.write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _signs_certificates() -> x509.KeyUsage:
    uses = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    more = ("key_agreement", "encipher_only", "decipher_only")
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **dict.fromkeys((*uses, *more), False))


def _programs() -> Path:
    sys.path.insert(0, str(REPOSITORY / "scripts/lib"))
    try:
        from flatrun_scripts import pebble as fetched
    finally:
        sys.path.pop(0)
    return fetched.programs(CACHE)


def _session(ca_file: Path | None = None) -> requests.Session:
    session = requests.Session()
    # The environment may name a proxy, or another CA file.
    session.trust_env = False
    session.verify = str(ca_file) if ca_file else True
    return session


def _tried(answers: Any) -> bool:
    try:
        return bool(answers())
    except (requests.RequestException, AssertionError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _absolute(host: str) -> str:
    return host if host.endswith(".") else host + "."
