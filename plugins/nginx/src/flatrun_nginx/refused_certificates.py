"""Certificates that nginx refuses: their hosts are served without TLS, and the rest of the site as it is."""

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from flatrun_core.ports.proxy import Host, Site, Tls
from flatrun_nginx.files import Files, read_json
from flatrun_nginx.layout import Layout

FILE: Final = ".refused-certificates.json"

# One that has not changed is tried again after this many seconds: its file may have been mended.
RETRY_AFTER: Final = 600.0
_WORDS: Final = ("deployment", "host", "fingerprint", "reason")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One host's; ``at`` is seconds of the epoch."""

    deployment: str
    host: str
    fingerprint: str
    reason: str
    at: float

    def __str__(self) -> str:
        """For a person."""
        return f"{self.host} is served without TLS, as nginx refuses its certificate: {self.reason}"

    def is_of(self, site: Site, host: Host) -> bool:
        """Whether a host would be served with that very certificate."""
        wanted = host.tls.fingerprint if host.tls else ""
        return (self.deployment, self.host, self.fingerprint) == (site.deployment, host.name, wanted)


class RefusedCertificates:
    """Those of one apply. ``force`` tries every one of them again."""

    def __init__(self, layout: Layout, sites: Iterable[Site], *, force: bool) -> None:
        self._layout = layout
        self._before = read(layout.folder)
        now = time.time()
        given = [(site, host) for site in sites if self._before for host in site.hosts]
        self._known = [one for one in self._before if any(one.is_of(site, host) for site, host in given)]
        self._standing = [one for one in self._known if not force and one.at <= now < one.at + RETRY_AFTER]

    def without(self, site: Site) -> Site:
        """A site without the certificates that are not tried now."""
        return _plain(site, [host for host in site.hosts if self._has(self._standing, site, host)])

    def refuse(self, site: Site, path: str, reason: str, served: str | None) -> Site | None:
        """The site without the certificate that has this file, by its path as the container sees it.

        None where the site has none such, or where the caller brought it: ``served`` is the live text
        of a site that the caller changed, which names what it was served with; None for another site.
        """
        hit = [host for host in site.hosts if host.tls and path in self._paths(host.tls)]
        brought = served is not None and any(
            host.tls and host.tls.fingerprint not in served and not self._has(self._known, site, host)
            for host in hit
        )
        if not hit or brought:
            return None
        now = time.time()
        self._standing += [
            Refusal(site.deployment, host.name, host.tls.fingerprint, reason, now) for host in hit if host.tls
        ]
        return _plain(site, hit)

    def keep(self, files: Files) -> None:
        """Write down which are refused now. Raises ``OSError``."""
        if self._standing != self._before:
            stored = json.dumps({"refused": [asdict(one) for one in self._standing]}, indent=2)
            files.write_whole(self._layout.folder / FILE, stored + "\n")

    def told(self) -> str:
        """A sentence for each."""
        return ". ".join(map(str, self._standing))

    def _paths(self, tls: Tls) -> tuple[str, ...]:
        return (self._layout.inside(tls.chain), self._layout.inside(tls.key))

    def _has(self, refusals: Iterable[Refusal], site: Site, host: Host) -> bool:
        return any(one.is_of(site, host) for one in refusals)


def read(folder: Path) -> list[Refusal]:
    """What was written down; empty where nothing was."""
    stored = read_json(folder / FILE).get("refused")
    return [one for one in map(_restored, stored if isinstance(stored, list) else ()) if one is not None]


def reasons(folder: Path) -> Mapping[str, str]:
    """Why hosts are served without TLS, by deployment."""
    found: dict[str, list[str]] = {}
    for one in read(folder):
        found.setdefault(one.deployment, []).append(str(one))
    return {deployment: ". ".join(texts) for deployment, texts in found.items()}


def _restored(stored: Any) -> Refusal | None:
    try:
        deployment, host, fingerprint, reason = (str(stored[key]) for key in _WORDS)
        return Refusal(deployment, host, fingerprint, reason, float(stored["at"]))
    except (KeyError, TypeError, ValueError):
        return None


def _plain(site: Site, hosts: Collection[Host]) -> Site:
    if not hosts:
        return site
    return replace(site, hosts=tuple(replace(one, tls=None) if one in hosts else one for one in site.hosts))
