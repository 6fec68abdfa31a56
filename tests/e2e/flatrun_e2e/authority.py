"""Certificates of an authority that asks nobody, put where an issuer would have left them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])


class OwnAuthority:
    """A root, and what it signs.

    Attributes:
        root: the PEM file of the root.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.root = folder / "root.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = _builder(NAME, self._key.public_key(), timedelta(days=2))
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._signed_root = made.sign(self._key, hashes.SHA256())
        self.root.write_bytes(self._signed_root.public_bytes(Encoding.PEM))

    def leave(self, nginx: Path, *hosts: str, days: float = 90) -> x509.Certificate:
        """Put a certificate for hosts into the folder of nginx; the first host names it."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = _builder(x509.Name([]), key.public_key(), timedelta(days=days))
        leaf = builder.add_extension(names, critical=True).sign(self._key, hashes.SHA256())
        folder = nginx / "certs/live" / hosts[0]
        folder.mkdir(parents=True, exist_ok=True)
        pem, root = leaf.public_bytes(Encoding.PEM), self._signed_root.public_bytes(Encoding.PEM)
        (folder / "cert.pem").write_bytes(pem)
        (folder / "chain.pem").write_bytes(root)
        (folder / "fullchain.pem").write_bytes(pem + root)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "privkey.pem").write_bytes(private)
        return leaf


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey, lasts: timedelta) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(NAME).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(start).not_valid_after(start + lasts)
