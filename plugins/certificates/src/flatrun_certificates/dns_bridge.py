"""The panel's side of proofs by DNS: the certbot child asks here for its TXT records.

The child has no way to the records but a Unix socket which exists for one run, in a folder that is
the panel's alone. Run certbot with the environment that ``dns_bridge`` gives and with::

    --authenticator flatrun-dns --preferred-challenges dns-01

``--authenticator`` is remembered by ``certbot renew``; the socket is not, so a renewal of such a
lineage needs a bridge too. The entry point is, in group ``certbot.plugins``::

    flatrun-dns = flatrun_certificates.dns_authenticator:Authenticator
"""

import json
import logging
import os
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

from flatrun_certificates.dns_variables import RESOLVER_VARIABLE, SOCKET_VARIABLE
from flatrun_core import FlatrunError
from flatrun_core.ports.certificates import DnsRecords

logger = logging.getLogger(__name__)

CHALLENGE_LABEL: Final = "_acme-challenge."
LONGEST_LINE: Final = 4096
# The kernel's limit for the path of a Unix socket is 108 bytes.
LONGEST_PATH: Final = 100


@contextmanager
def dns_bridge(records: DnsRecords, folder: Path, resolver: str = "") -> Iterator[dict[str, str]]:
    """Answer one certbot child, whose environment needs what this gives.

    What the child presented and did not withdraw is withdrawn at the end, also when it was killed.
    ``folder`` is where the private folder of the socket is made; ``resolver`` is where the child
    looks whether its records are visible, empty for the host's.
    """
    place = _private_folder(folder)
    try:
        desk = _Desk(records)
        with _Server(str(place / "s"), desk) as server:
            thread = threading.Thread(
                target=server.serve_forever, args=(0.05,), name="dns-bridge", daemon=True
            )
            thread.start()
            try:
                yield {SOCKET_VARIABLE: str(place / "s"), RESOLVER_VARIABLE: resolver}
            finally:
                server.shutdown()
                thread.join()
                desk.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


class _Desk:
    """Does what the child asks, and knows what still stands."""

    def __init__(self, records: DnsRecords) -> None:
        self._records = records
        self._standing: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._closed = False

    def answer(self, line: bytes) -> dict[str, Any]:
        """Answer one request; an error is a sentence for certbot to show."""
        try:
            action, name, value = _request(line)
            with self._lock:
                if self._closed:
                    return {"error": "the panel has ended this run"}
                self._do(action, name, value)
        except FlatrunError as error:
            return {"error": str(error)}
        except (ValueError, RecursionError) as error:
            return {"error": f"the panel does not understand the request: {error}"}
        except Exception as error:
            # A provider of records is a plugin of anybody: whatever it raises ends this proof only.
            logger.exception("A record for a proof by DNS could not be changed")
            return {"error": f"the record could not be changed: {error}"}
        return {"ok": True}

    def close(self) -> None:
        """Withdraw what still stands; whoever asks later is refused."""
        with self._lock:
            self._closed = True
            for name, value in self._standing:
                try:
                    self._records.withdraw(name, "TXT", value)
                except Exception:
                    logger.exception("The TXT record of %s could not be withdrawn", name)
            self._standing = []

    def _do(self, action: str, name: str, value: str) -> None:
        if action == "present":
            # Noted first: a call that fails half way may have left the record.
            self._standing.append((name, value))
            self._records.present(name, "TXT", value)
        else:
            self._records.withdraw(name, "TXT", value)
            self._standing = [one for one in self._standing if one != (name, value)]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str, desk: _Desk) -> None:
        self.desk = desk
        super().__init__(path, _Line)

    def server_bind(self) -> None:
        """Bind, and let nobody but the owner connect."""
        super().server_bind()
        Path(cast(str, self.server_address)).chmod(0o600)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Leave a line in the log: a child that was killed closes its end at any moment."""
        logger.debug("A certbot child went away", exc_info=True)


class _Line(socketserver.StreamRequestHandler):
    timeout = 120

    def handle(self) -> None:
        """Answer lines until the child has no more."""
        desk = cast(_Server, self.server).desk
        while line := self.rfile.readline(LONGEST_LINE + 1):
            self.wfile.write(json.dumps(desk.answer(line)).encode() + b"\n")


def _request(line: bytes) -> tuple[str, str, str]:
    """Action, name and value; only the records of proofs can be asked for."""
    if len(line) > LONGEST_LINE:
        raise ValueError("it is too long")
    body = json.loads(line)
    if not isinstance(body, dict):
        raise ValueError("it is no object")
    action, name, value = (body.get(key) for key in ("action", "name", "value"))
    if action not in ("present", "withdraw"):
        raise ValueError("its action is neither present nor withdraw")
    if not isinstance(name, str) or not name.startswith(CHALLENGE_LABEL):
        raise ValueError(f"its name does not begin with {CHALLENGE_LABEL}")
    if not isinstance(value, str) or not value:
        raise ValueError("it has no value")
    return action, name, value


def _private_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="dns-", dir=folder))
    if len(os.fsencode(made)) <= LONGEST_PATH:
        return made
    made.rmdir()
    return Path(tempfile.mkdtemp(prefix="flatrun-dns-"))
