"""What no request asks for: the start, edits by hand, renewed certificates, the panel's own domain."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from flatrun_core import Conflict, FlatrunError, NotFound, PluginContext, ServiceKey
from flatrun_core.ports.certificates import CERTIFICATES
from flatrun_core.ports.deployments import DEPLOYMENTS
from flatrun_core.ports.proxy import PANEL, PROXY, Applied, Site
from flatrun_core.ports.settings import SettingsChange
from flatrun_domains import errors
from flatrun_domains.publishing import PUBLISHER
from flatrun_domains.registry import REGISTRY
from flatrun_domains.settings import DomainSettings
from flatrun_domains.status import STATUSES

log = logging.getLogger(__name__)

# Every so many looks everything is applied, changed or not: a file that the proxy refused may be
# good by now, and an application by others may have failed.
LOOKS: Final = 20
STOP_WITHIN: Final = 5.0


class Follower:
    """Applies what has changed by itself."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._proxy = ctx.services.get(PROXY)
        self._deployments = ctx.services.get(DEPLOYMENTS)
        self._registry = ctx.services.get(REGISTRY)
        self._publisher = ctx.services.get(PUBLISHER)
        self._statuses = ctx.services.get(STATUSES)
        self._looks = 0
        self._served: dict[str, Site] = {}
        self._told: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """Apply once, and get the panel's certificate, beside the start and not before it."""
        self._in_background(self._first)

    def stop(self) -> None:
        """Wait a little for what runs in the background."""
        thread = self._thread
        if thread is not None:
            thread.join(STOP_WITHIN)

    def look(self) -> None:
        """Apply when what is to be served is not what was applied last."""
        self._looks += 1
        self._end_removals()
        regular = self._looks % LOOKS == 0
        try:
            due = regular or not self._registry.is_applied()
        except FlatrunError as exc:
            self._tell("look", f"the domains of the deployments cannot be looked at: {exc.message}")
            return
        if due:
            self._apply()
        if regular:
            self._in_background(self._secure_panel)

    def settings_changed(self, change: SettingsChange) -> None:
        """Serve the panel under its new domain; 409 ``DOMAIN_EXISTS`` when a deployment has it."""
        if not change.changed & {"domain.panel_domain", "domain.panel_ssl"}:
            return
        domain = self._ctx.settings(DomainSettings).panel_domain
        owner = self._registry.owner_of(domain) if domain else None
        if owner is not None:
            raise errors.panel_domain_taken(domain, owner)
        self._publisher.apply(PANEL)
        self._in_background(self._secure_panel)

    # --- within ---------------------------------------------------------------------------------

    def _first(self) -> None:
        self._apply()
        self._secure_panel()

    def _apply(self) -> Applied:
        try:
            applied = self._publisher.apply()
            self._registry.remember()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the panel goes on, and it is told of once
            reason = exc.message if isinstance(exc, FlatrunError) else f"{type(exc).__name__}: {exc}"
            self._tell("apply", f"the proxy serves what it served before: {reason}")
            return Applied()
        self._tell("apply", "")
        if not applied.skipped:
            self._log_changes()
            self._log_left_out(applied)
        return applied

    def _log_changes(self) -> None:
        before, now = self._served, {site.deployment: site for site in self._registry.sites()}
        self._served = now
        changed = sorted(name for name, site in now.items() if before.get(name) != site)
        gone = sorted(before.keys() - now.keys())
        if before and (changed or gone):
            log.info("sites applied: changed %s; gone %s", ", ".join(changed) or "-", ", ".join(gone) or "-")

    def _log_left_out(self, applied: Applied) -> None:
        for one in self._statuses.everything_left_out():
            by = f" (by '{one['by']}')" if one.get("by") else ""
            where = f"{one['deployment_name']} {one['id']} {one['domain']}"
            self._tell(f"left out {where}", f"left out: {where}: {one['reason']}{by}")
        for name, reason in applied.quarantined.items():
            self._tell(f"quarantined {name}", f"the proxy refuses the site of '{name}': {reason}")

    def _end_removals(self) -> None:
        """Serve again what a removal that failed half-way took away."""
        for name in self._registry.leaving():
            try:
                with self._deployments.exclusive(name):
                    self._registry.left(name)
            except NotFound:
                self._registry.left(name)
            except Conflict:
                # It is still going on.
                continue

    def _secure_panel(self) -> None:
        settings = self._ctx.settings(DomainSettings)
        certificates = self._ctx.services.find(CERTIFICATES)
        hosts = [settings.panel_domain]
        if not settings.panel_domain or not settings.panel_ssl or certificates is None:
            return
        if certificates.lookup(hosts) is not None or not self._proxy.endpoints().http:
            return
        try:
            certificate = certificates.ensure(hosts)
            self._publisher.apply(PANEL)
            problem = certificates.confirm(certificate)
        except Exception as exc:  # noqa: BLE001 - as above
            problem = exc.message if isinstance(exc, FlatrunError) else f"{type(exc).__name__}: {exc}"
        self._tell("panel", f"the panel's domain has no certificate: {problem}" if problem else "")

    def _tell(self, about: str, text: str) -> None:
        """Log a problem once, and again only when it is another one."""
        if text and self._told.get(about) != text:
            log.warning("%s", text)
        self._told[about] = text

    def _in_background(self, work: Callable[[], None]) -> None:
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(target=work, name="domains", daemon=True)
            self._thread.start()


FOLLOWER: ServiceKey[Follower] = ServiceKey("domains.follower", "domains")
