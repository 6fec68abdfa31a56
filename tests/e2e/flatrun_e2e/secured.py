"""A panel, its proxy and the authority that it asks for certificates, with servers before it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from flatrun_e2e.bad_authority import BadAuthority
from flatrun_e2e.edge import Edge
from flatrun_e2e.pebble import Pebble

EMAIL = "you@example.test"


@dataclass
class Secured:
    """Everything that takes part in getting certificates.

    Attributes:
        edge: the panel and its proxy.
        pebble: the authority.
        asked: the server before the authority, which is what the panel knows as the authority.
        root: the PEM file of the root that good chains end in.
    """

    edge: Edge
    pebble: Pebble
    asked: BadAuthority
    root: Path

    @staticmethod
    def settings(pebble: Pebble, asked: BadAuthority, more: Mapping[str, Any]) -> dict[str, Any]:
        """Return the panel's settings for an authority; `more` comes first, group by group."""
        certbot = {
            "email": EMAIL,
            "server": asked.directory,
            "ca_file": str(pebble.ca_file),
            "resolver": pebble.dns.address,
            "http01_port": pebble.options.http_port,
        }
        return {**more, "certbot": {**certbot, **more.get("certbot", {})}}

    @property
    def live(self) -> Path:
        """The folder of the current certificates."""
        return self.edge.folder / "certs/live"

    def add(self, site: str, host: str, **more: Any) -> dict[str, Any]:
        """Give a deployment a domain that wants TLS, and return what publishing it said."""
        result = self.edge.add(site, host, ssl={"enabled": True}, **more)["proxy_result"]
        assert result["success"] is True, result
        return dict(result)

    def publish(self, site: str) -> dict[str, Any]:
        """Publish a deployment once more, and return what that said."""
        answer = self.edge.panel.post(f"/api/proxy/setup/{site}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["result"])

    def certificate(self, name: str) -> dict[str, Any]:
        """Return what the panel says of a certificate."""
        answer = self.edge.panel.get(f"/api/certificates/{name}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["certificate"])

    def served(self, host: str) -> x509.Certificate:
        """Return the certificate that is served for a host, with a chain that ends in the root."""
        return self.edge.leaf(host, self.root)

    def note_root(self) -> None:
        """Write the authority's root down, which is another one after each start."""
        self.root.write_bytes(self.pebble.root().public_bytes(Encoding.PEM))

    def revoke(self, name: str) -> None:
        """Have a certificate revoked by whoever holds its key."""
        folder = self.edge.folder.parent / "revoking"
        words = ["revoke", "--non-interactive", "--no-delete-after-revoke", "--reason", "superseded"]
        words += ["--cert-path", str(self.live / name / "cert.pem")]
        words += ["--key-path", str(self.live / name / "privkey.pem"), "--server", self.pebble.directory]
        for option in ("config-dir", "work-dir", "logs-dir"):
            words += [f"--{option}", str(folder)]
        program = "import sys; from certbot.main import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            env={"PATH": os.environ["PATH"], "REQUESTS_CA_BUNDLE": str(self.pebble.ca_file)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def names_of(leaf: x509.Certificate) -> set[str]:
    """Return the names that a certificate is for."""
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names.get_values_for_type(x509.DNSName))
