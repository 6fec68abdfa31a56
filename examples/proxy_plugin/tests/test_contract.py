"""The suite every proxy backend passes: with a Caddy in memory, and with the real one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flatrun_core.ports.proxy import Host, ProxyBackend, Route, Site, Tls
from flatrun_core.testing.pem import self_signed
from flatrun_core.testing.proxy_contract import ProxyBackendContract


class TestCaddyBackend(ProxyBackendContract):
    @pytest.fixture
    def spoiled(self) -> Callable[[str], Site]:
        return lambda name: Site(
            name, (Host(f"{name}.refused.example.com", (), (Route("/", f"{name}-web", 80),)),)
        )


@pytest.mark.e2e
class TestCaddyBackendWithCaddy(ProxyBackendContract):
    @pytest.fixture
    def backend(self, caddy: Any, root: Path) -> ProxyBackend:
        backend: ProxyBackend = caddy.backend(root)
        return backend

    @pytest.fixture
    def tls(self, root: Path) -> Tls:
        return self_signed(root / "pem", "*.example.com")

    @pytest.fixture
    def spoiled(self, root: Path) -> Callable[[str], Site]:
        """Return sites with a good certificate on a curve that Caddy alone does not know."""
        tls = self_signed(root / "pem", "*.example.com")
        _on_another_curve(tls)
        return lambda name: Site(
            name, (Host(f"{name}.example.com", (), (Route("/", f"{name}-web", 80),), tls),)
        )


def _on_another_curve(tls: Tls) -> None:
    old = x509.load_pem_x509_certificate(tls.chain.read_bytes())
    key = ec.generate_private_key(ec.SECP256K1())
    new = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(key.public_key())
        .serial_number(old.serial_number)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    tls.chain.write_bytes(new.public_bytes(pem))
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    tls.key.write_bytes(key.private_bytes(pem, *plain))
