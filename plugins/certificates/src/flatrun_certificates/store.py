"""Every certificate on this host, looked up without asking anybody."""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from flatrun_certificates.lineages import DISABLED, ENABLED, Lineage, Stamp, read_lineage, stamp
from flatrun_certificates.paths import Folders
from flatrun_core import Failed, NotFound
from flatrun_core.ports.certificates import Certificate

log = logging.getLogger(__name__)

# A lookup looks at the files of the certificates that could answer it; for the rest of the folder
# it believes for this long what it saw. In seconds.
GLANCE: Final = 1.0
# Where lineages stand that cannot be used, so that they are looked at again: they may be mended.
_UNKNOWN: Final = ""


@dataclass(slots=True)
class _Seen:
    """The lineages of one folder, and which of them name a domain."""

    live: Path
    folder: Stamp
    at: float
    lineages: dict[str, Lineage]
    by_domain: dict[str, tuple[str, ...]]


class Store:
    """Reads ``live``; safe for threads. ``auto_renew`` answers the setting for lineages that say nothing."""

    def __init__(
        self,
        folders: Callable[[], Folders],
        auto_renew: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._folders = folders
        self._auto_renew = auto_renew
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: _Seen | None = None
        self._said: dict[str, str] = {}

    def lineages(self) -> Sequence[Lineage]:
        """Every lineage, the unusable ones too, by name; raises ``Failed`` when the folder is unreadable."""
        with self._lock:
            seen = self._look(0.0)
        return [seen.lineages[name] for name in sorted(seen.lineages)]

    def lineage(self, name: str) -> Lineage | None:
        """One, as it is now; None when there is no such folder."""
        with self._lock:
            self._look(0.0)
            return self._again(name)

    def need(self, name: str) -> Lineage:
        """One; 404 ``CERTIFICATE_NOT_FOUND``."""
        found = self.lineage(name)
        if found is None:
            raise NotFound("Certificate not found", code="CERTIFICATE_NOT_FOUND")
        return found

    def all(self) -> Sequence[Certificate]:
        """Every certificate that can be used, by name."""
        return [found for lineage in self.lineages() if (found := self.certificate(lineage)) is not None]

    def lookup(self, hosts: Sequence[str]) -> Certificate | None:
        """The best certificate for the hosts, see the port.

        Those that are over come last, and of two those that are signed by themselves alone.
        """
        if not hosts:
            return None
        moment = self._clock()
        found = [pair for pair in self._naming(hosts[0]) if pair[0].covers(hosts[:1])]

        def worth(pair: tuple[Certificate, bool]) -> tuple[Any, ...]:
            one, own_signed = pair
            return (one.not_after > moment, one.covers(hosts), not own_signed, one.not_after, one.name)

        return max(found, key=worth)[0] if found else None

    def certificate(self, lineage: Lineage) -> Certificate | None:
        """What others may know of a lineage; None when it cannot be used."""
        leaf = lineage.leaf
        if leaf is None:
            return None
        return Certificate(
            name=lineage.name,
            domains=leaf.domains,
            issuer=leaf.issuer,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            leaf=lineage.files.leaf,
            chain=lineage.files.chain,
            key=lineage.files.key,
            fingerprint=leaf.fingerprint,
            ocsp=leaf.ocsp,
            staging=lineage.staging,
            auto_renew=self._renews(lineage),
        )

    def _renews(self, lineage: Lineage) -> bool:
        if lineage.own_signed:
            return False
        return self._auto_renew() if lineage.marker is None else lineage.marker

    def set_auto_renew(self, name: str, wanted: bool) -> None:
        """Mark a lineage, by a file in its folder; raises ``Failed``."""
        folder = self._folders().live / name
        try:
            (folder / (DISABLED if wanted else ENABLED)).unlink(missing_ok=True)
            (folder / (ENABLED if wanted else DISABLED)).touch(mode=0o644)
        except OSError as exc:
            raise Failed(f"The mark in {folder} could not be written: {exc.strerror}") from exc

    def forget(self) -> None:
        """Look at every folder anew at the next question; what did not change is not read again."""
        with self._lock:
            if self._seen is not None:
                self._seen.at = -GLANCE

    def _naming(self, host: str) -> list[tuple[Certificate, bool]]:
        """Those that may name a host, each with whether it is signed by itself alone."""
        with self._lock:
            seen = self._look(GLANCE)
            keys = (host, f"*.{host.partition('.')[2]}", _UNKNOWN)
            names = [name for key in keys for name in seen.by_domain.get(key, ())]
            fresh = [self._again(name) for name in dict.fromkeys(names)]
        return [
            (one, lineage.own_signed) for lineage in fresh if lineage and (one := self.certificate(lineage))
        ]

    def _look(self, patience: float) -> _Seen:
        """What is in the folder, not older than ``patience`` seconds. The lock is held."""
        live = self._folders().live
        seen = self._seen
        folder = stamp(live)
        if seen is not None and seen.live == live and seen.folder == folder:
            if time.monotonic() - seen.at < patience:
                return seen
            known: Mapping[str, Lineage] = seen.lineages
        else:
            known = seen.lineages if seen is not None and seen.live == live else {}
        found = {name: self._current(known.get(name), name) for name in _names(live)}
        self._seen = _Seen(live, folder, time.monotonic(), found, _by_domain(found))
        return self._seen

    def _again(self, name: str) -> Lineage | None:
        """One lineage of those seen, read again if its files changed. The lock is held."""
        seen = self._seen
        if seen is None or name not in seen.lineages:
            return None
        lineage = self._current(seen.lineages[name], name)
        if lineage is not seen.lineages[name]:
            seen.lineages[name] = lineage
            seen.by_domain = _by_domain(seen.lineages)
        return lineage

    def _current(self, known: Lineage | None, name: str) -> Lineage:
        if known is not None and known.unchanged():
            return known
        lineage = read_lineage(self._folders(), name)
        if lineage.problem != self._said.get(name, ""):
            self._said[name] = lineage.problem
            if lineage.problem:
                use = "an earlier one is used" if lineage.leaf else "there is no earlier one"
                log.warning("the certificate '%s' cannot be used: %s; %s", name, lineage.problem, use)
        return lineage


def _names(live: Path) -> list[str]:
    try:
        with os.scandir(live) as entries:
            return sorted(one.name for one in entries if one.name[:1] != "." and one.is_dir())
    except FileNotFoundError:
        return []
    except OSError as exc:
        reason = exc.strerror or errno.errorcode.get(exc.errno or 0, "")
        raise Failed(f"The certificates in {live} cannot be read: {reason}") from exc


def _by_domain(lineages: Mapping[str, Lineage]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, lineage in lineages.items():
        for domain in lineage.leaf.domains if lineage.leaf else (_UNKNOWN,):
            found[domain] = (*found.get(domain, ()), name)
    return found
