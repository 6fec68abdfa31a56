"""The file that vouches for the authority, looked at when it is set."""

import threading
from pathlib import Path
from typing import Final

from flatrun_certificates.pem import PemProblem, certificates
from flatrun_certificates.settings import CertbotSettings
from flatrun_core import Invalid, ServiceKey
from flatrun_core.ports.settings import SettingsChange

_NAME: Final = "certbot.ca_file"
_LARGEST: Final = 1 << 24  # bytes; a bundle of every public authority has a fiftieth of it


def problem(path: Path | str) -> str:
    """Why a file cannot vouch for anybody, a sentence; empty when it can, or is not set."""
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            certificates(file.read(_LARGEST), "the file")
    except OSError as exc:
        return f"{_NAME}: {path} cannot be read: {exc.strerror}"
    except PemProblem as exc:
        return f"{_NAME}: {path} is no PEM file of certificates: {exc}"
    return ""


class Trust:
    """Refuses changes to a file that vouches for nobody."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: SettingsChange | None = None

    def check(self, change: SettingsChange) -> None:
        """Raise ``Invalid`` for another file that cannot be used; an earlier one comes back in any case."""
        with self._lock:
            last, self._last = self._last, change
        undoes = last is not None and change.new is last.old and change.old is last.new
        wanted: CertbotSettings = change.new["certbot"]
        if undoes or _NAME not in change.changed:
            return
        found = problem(wanted.ca_file)
        if found:
            raise Invalid(found)


TRUST: Final[ServiceKey[Trust]] = ServiceKey("certificates.trust", "certificates")
