"""Which certificate the running proxy really serves, asked the way a browser asks."""

import hashlib
import logging
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Final

from flatrun_core.ports.certificates import Certificate
from flatrun_core.ports.proxy import Endpoints

logger = logging.getLogger(__name__)

CONFIRM_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 0.1
# After a reload old workers accept beside the new ones, with nginx for a tenth of a second: what
# counts is an answer that stays the same for longer.
SETTLED_SECONDS: Final = 0.2
HANDSHAKE_SECONDS: Final = 2.0
# A name below a wildcard, which itself cannot be asked for.
LABEL: Final = "flatrun-check"


def served_fingerprint(host: str, address: tuple[str, int], timeout: float) -> str | None:
    """The SHA-256 in hex of the leaf that is served for a name; None when no handshake succeeds.

    ``timeout`` is in seconds. The chain is not verified: a certificate of any authority counts.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    name = f"{LABEL}.{host[2:]}" if host.startswith("*.") else host
    try:
        with (
            socket.create_connection(address, timeout) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            leaf = secured.getpeercert(binary_form=True)
    except (OSError, ValueError) as error:
        logger.debug("No TLS handshake for %s at %s: %s", name, address, error)
        return None
    return hashlib.sha256(leaf).hexdigest() if leaf else None


def confirm(certificate: Certificate, endpoints: Endpoints, hosts: Sequence[str]) -> str:
    """Empty when the running proxy serves the certificate for every host, else a sentence.

    Asks for up to about three seconds, because a reload takes effect a little after it returns.
    """
    if not endpoints.https:
        return "The proxy does not answer TLS now, so nobody is served the certificate yet."
    deadline = time.monotonic() + CONFIRM_SECONDS
    since: float | None = None
    while True:
        asked = time.monotonic()
        left = [host for host in hosts if not _serves(certificate, endpoints, host, deadline)]
        since = None if left else asked if since is None else since
        if since is not None and asked - since >= SETTLED_SECONDS:
            return ""
        if left and time.monotonic() + PAUSE_SECONDS >= deadline:
            return _complaint(left, endpoints)
        time.sleep(PAUSE_SECONDS)


def _serves(certificate: Certificate, endpoints: Endpoints, host: str, deadline: float) -> bool:
    wanted = certificate.fingerprint.lower()
    for address in endpoints.https:
        timeout = min(HANDSHAKE_SECONDS, max(deadline - time.monotonic(), PAUSE_SECONDS))
        if served_fingerprint(host, address, timeout) == wanted:
            return True
    return False


def _complaint(hosts: Sequence[str], endpoints: Endpoints) -> str:
    host, address = hosts[0], endpoints.https[0]
    more = f" (and {len(hosts) - 1} more)" if len(hosts) > 1 else ""
    if served_fingerprint(host, address, HANDSHAKE_SECONDS) is None:
        return (
            f"The proxy answers no TLS handshake for {host}{more} at {address[0]} port {address[1]}: "
            "look at its log and at GET /api/proxy/vhosts."
        )
    return (
        f"The proxy serves another certificate for {host}{more} than the one on disk: reload it, and "
        "look at GET /api/proxy/vhosts for a site that was left out."
    )
