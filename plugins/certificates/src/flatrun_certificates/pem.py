"""PEM files read and compared: a leaf, what it is issued by, and its key."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

_BLOCK: Final = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]+)-----\s[A-Za-z0-9+/=\s]+-----END (?P=label)-----"
)
_MARK: Final = b"-----"
_CERTIFICATE: Final = b"CERTIFICATE"


class PemProblem(Exception):
    """Why files cannot be used; a part of a sentence that begins with what is wrong."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a certificate says of itself; ``domains`` are the DNS names it covers."""

    domains: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint: str
    serial: int
    ocsp: bool
    self_signed: bool = False


def read_pair(leaf: bytes, chain: bytes, key: bytes, issuers: bytes = b"") -> Leaf:
    """The leaf of a set of files that belong together; raises ``PemProblem``.

    ``chain`` is the leaf followed by its issuers, and ``issuers`` these alone, where they are kept.
    A file that was cut at any byte does not pass. One that is signed by itself has no issuers; where
    a file is kept for them it may name itself.
    """
    first = one_certificate(leaf)
    chained = certificates(chain, "the chain")
    if chained[0] != first:
        raise PemProblem("the chain begins with another certificate")
    kept = certificates(issuers, "the issuers") if issuers else chained[1:]
    alone = _is_self_signed(first) and all(one == first for one in (*kept, *chained))
    if len(kept) != len(chained) - 1 and not alone:
        raise PemProblem("the chain is not complete")
    if len(chained) > 1 and chained[1].subject != first.issuer:
        raise PemProblem("the chain is not the certificate's")
    if _public(first) != _public_of_key(key):
        raise PemProblem("the key is not the certificate's")
    return describe(first)


def one_certificate(data: bytes) -> x509.Certificate:
    """The only certificate of a file; raises ``PemProblem``."""
    found = certificates(data, "the certificate")
    if len(found) != 1:
        raise PemProblem("the certificate's file has more than one")
    return found[0]


def certificates(data: bytes, what: str) -> Sequence[x509.Certificate]:
    """Every certificate of a file, at least one; raises ``PemProblem`` for anything half there."""
    try:
        return [x509.load_pem_x509_certificate(block) for block in _blocks(data, what, _CERTIFICATE)]
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise PemProblem(f"{what} cannot be read") from exc


def describe(certificate: x509.Certificate) -> Leaf:
    """The facts of a certificate; raises ``PemProblem`` when it has no DNS name."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        domains = tuple(
            dict.fromkeys(name.lower().removesuffix(".") for name in names.get_values_for_type(x509.DNSName))
        )
    except (x509.ExtensionNotFound, ValueError) as exc:
        raise PemProblem("the certificate names no domains") from exc
    if not domains:
        raise PemProblem("the certificate names no domains")
    self_signed = _is_self_signed(certificate)
    return Leaf(
        domains=domains,
        issuer=_issuer(certificate) or (domains[0] if self_signed else ""),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        serial=certificate.serial_number,
        ocsp=_has_responder(certificate),
        self_signed=self_signed,
    )


def _blocks(data: bytes, what: str, label: bytes) -> list[bytes]:
    """The PEM blocks of a file; text between them passes, a block that was cut does not."""
    found, end = [], 0
    for match in _BLOCK.finditer(data):
        if _MARK in data[end : match.start()] or match["label"] != label:
            raise PemProblem(f"{what} is damaged")
        found.append(match[0] + b"\n")
        end = match.end()
    if not found:
        raise PemProblem(f"{what} is empty" if not data.strip() else f"{what} is damaged")
    if data[end:].strip():
        raise PemProblem(f"{what} is damaged at its end")
    return found


def _public(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise PemProblem("the certificate's key is of a kind unknown here") from exc


def _public_of_key(data: bytes) -> bytes:
    try:
        # A full check of the primes of an RSA key takes a hundred times as long as reading it.
        key = load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True)
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise PemProblem("the key is damaged" if data.strip() else "the key is empty") from exc


def _is_self_signed(certificate: x509.Certificate) -> bool:
    if certificate.issuer != certificate.subject:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _issuer(certificate: x509.Certificate) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in certificate.issuer.get_attributes_for_oid(oid):
            return str(attribute.value)
    return ""


def _has_responder(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return any(one.access_method == AuthorityInformationAccessOID.OCSP for one in found)
