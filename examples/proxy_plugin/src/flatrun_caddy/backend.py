"""The backend: renders, checks, swaps and reloads. All it remembers is in the Caddyfile itself."""

import logging
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from flatrun_caddy import files
from flatrun_caddy.blocks import blocks, sift
from flatrun_caddy.caddyfile import render
from flatrun_caddy.program import Caddy, unreachable
from flatrun_caddy.record import record_of, with_record
from flatrun_caddy.settings import Layout
from flatrun_core import Failed, FlatrunError, ServiceKey, Unavailable
from flatrun_core.ports.proxy import PANEL, Applied, Endpoints, ProxyBackend, Route, Site, VirtualHost

log = logging.getLogger(__name__)

_UNCHECKED: Final = "Caddy is not installed here, so only Flatrun's own rules looked at the configuration"


class CaddyBackend(ProxyBackend):
    """Caddy as the reverse proxy. The core's lock keeps ``apply`` to one thread at a time."""

    name = "caddy"

    def __init__(self, layout: Callable[[], Layout], caddy: Caddy) -> None:
        self._layout = layout
        self._caddy = caddy
        # What this panel has seen Caddy load: after a start it is not known, and loaded again.
        self._loaded = ""

    def apply(self, sites: Sequence[Site], changed: Collection[str], force: bool) -> Applied:
        """Serve the sites; see the port."""
        layout = self._layout()
        if problem := layout.problem():
            raise _refused(problem)
        files.clear_staged(layout.file.parent)
        good, refused = sift(sites, changed)
        _stop_at_changed(refused, changed)
        before = files.read(layout.file)
        text, notes = _text(layout, good, refused), []
        if text != before:
            found, checked = self._judge(layout, good)
            refused |= found
            _stop_at_changed(refused, changed)
            text = _text(layout, [site for site in good if site.deployment not in found], refused)
            notes += [] if checked else [_UNCHECKED]
        changed_now = text != before
        if changed_now:
            notes += _keep_edit(layout, before)
            files.swap(layout.file, text)
        reloaded, note = self._load(layout, text, force or changed_now)
        for name, reason in refused.items():
            log.warning("caddy leaves out %s: %s", name, reason)
        return Applied(
            changed=changed_now or force,
            reloaded=reloaded,
            serving=not note and self._caddy.answers(layout),
            message=". ".join([*notes, *([note] if note else [])]),
            quarantined=dict(sorted(refused.items())),
        )

    def _judge(self, layout: Layout, sites: Sequence[Site]) -> tuple[dict[str, str], bool]:
        """Whom Caddy refuses and why, and whether it was there to be asked."""

        def refusal(some: Sequence[Site]) -> str:
            with files.staged(layout.file.parent, _text(layout, some, {})) as file:
                return self._caddy.refusal(layout, file, blocks(some))

        try:
            return culprits(sites, refusal), True
        except Unavailable as exc:
            if exc.code != "PROGRAM_MISSING":
                raise
            return {}, False

    def _load(self, layout: Layout, text: str, force: bool) -> tuple[bool, str]:
        """Have a running Caddy load the file, and what a person should know when it has not."""
        if self._loaded == text and not force:
            return False, ""
        self._loaded = ""
        if not self._caddy.answers(layout):
            return False, f"Caddy does not answer at {layout.admin}; this takes effect when it starts"
        try:
            words = self._caddy.reload(layout)
        except FlatrunError as exc:
            # The file is good and in its place, so this is told and undoes nothing.
            words = exc.message
        if words:
            log.error("caddy did not load %s: %s", layout.file, words)
            return False, f"The running Caddy did not load the configuration: {words}"
        self._loaded = text
        return True, ""

    def status(self, deployment: str) -> VirtualHost:
        """What is served for a deployment now."""
        return self.virtual_hosts().get(deployment, VirtualHost())

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """Every deployment that is served or left out, by name."""
        file = self._layout().file
        record = record_of(files.read(file) or "")
        hosts = {
            name: VirtualHost(quarantined=True, reason=reason) for name, reason in record.refused.items()
        }
        if record.served:
            at = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            hosts |= {name: VirtualHost(exists=True, file=file, modified_at=at) for name in record.served}
        return dict(sorted(hosts.items()))

    def endpoints(self) -> Endpoints:
        """Where Caddy answers; empty while it does not run."""
        layout = self._layout()
        if not self._caddy.answers(layout):
            return Endpoints()
        address = layout.bind or "127.0.0.1"
        return Endpoints(((address, layout.http_port),), ((address, layout.https_port),))

    def probe(self, routes: Collection[Route]) -> Sequence[str]:
        """One sentence for each target that takes no connection.

        Asked from the panel's side: a name that is known on Caddy's network only is passed over.
        """
        targets = sorted({(route.upstream, route.port) for route in routes if route.upstream != PANEL})
        found = []
        for name, port in targets:
            try:
                socket.getaddrinfo(name, port)
            except OSError:
                continue
            if reason := unreachable(f"{name}:{port}"):
                found.append(f"{name}:{port} takes no connection: {reason}")
        return found

    def accepts(self, token: str) -> bool:
        """Never: this backend makes no requests of its own to the panel."""
        return False


def culprits(sites: Sequence[Site], refusal: Callable[[Sequence[Site]], str]) -> dict[str, str]:
    """Who is refused and why, found by halving; what nobody is to blame for is raised."""
    problem = refusal(sites)
    if not problem:
        return {}
    if len(sites) == 1:
        return {sites[0].deployment: problem}
    half = len(sites) // 2
    found = culprits(sites[:half], refusal) | culprits(sites[half:], refusal) if sites else {}
    rest = [site for site in sites if site.deployment not in found]
    if not found or (rest and refusal(rest)):
        raise _refused(problem)
    return found


def _text(layout: Layout, sites: Sequence[Site], refused: Mapping[str, str]) -> str:
    body = render(layout, blocks(sites))
    return with_record(body, [site.deployment for site in sites], refused)


def _stop_at_changed(refused: Mapping[str, str], changed: Collection[str]) -> None:
    for name in sorted(refused.keys() & set(changed)):
        raise _refused(refused[name], f" of {name}")


def _refused(reason: str, whose: str = "") -> Failed:
    text = f"Caddy cannot serve the configuration{whose}: {reason}"
    return Failed(text, code="PROXY_CONFIG_FAILED", details=reason)


def _keep_edit(layout: Layout, before: str | None) -> list[str]:
    """Put a file aside that somebody else wrote or changed."""
    if before is None or record_of(before).genuine:
        return []
    copy = files.set_aside(layout.file)
    log.warning("%s was changed by somebody else; that is in %s now", layout.file, copy)
    return [f"{layout.file.name} was not as Flatrun wrote it; that file is {copy.name} now"]


CADDY: ServiceKey[CaddyBackend] = ServiceKey("caddy", "caddy")
