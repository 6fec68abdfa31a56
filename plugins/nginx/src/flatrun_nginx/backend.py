"""The proxy backend ``nginx``."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from flatrun_core import PluginContext, ServiceKey
from flatrun_core.ports.docker import COMPOSE, ENGINE
from flatrun_core.ports.proxy import Applied, Endpoints, Route, Site, VirtualHost
from flatrun_nginx import compose_file, generation, own_folder, quarantine, refused_certificates, targets
from flatrun_nginx.container import LOOPING, NginxContainer
from flatrun_nginx.environment import Environment, current
from flatrun_nginx.files import Files
from flatrun_nginx.image_facts import ImageFacts
from flatrun_nginx.journal import Places, Swap
from flatrun_nginx.layout import Layout
from flatrun_nginx.operation import Operation
from flatrun_nginx.token import equal, obtain
from flatrun_nginx.workshop import Workshop

FOLLOW_WITHIN: Final = 5.0  # seconds
LOOPS: Final = "its container starts again and again"
_SHARED: Final = frozenset({"default.conf", "00-flatrun-maps.conf"})


class NginxBackend:
    """Implements ``ProxyBackend``; one apply at a time, which the proxy's lock sees to as well."""

    name = "nginx"

    def __init__(
        self, ctx: PluginContext, container: NginxContainer | None = None, files: Files | None = None
    ) -> None:
        services = ctx.services
        self._ctx = ctx
        self._engine = services.get(ENGINE)
        self.container = container or NginxContainer(self._engine, services.get(COMPOSE))
        self._files = files or Files()
        self._workshop = Workshop.equipped(ctx, self.container, self._files)
        self._mutex = threading.RLock()
        self._checked: Layout | None = None

    def apply(self, sites: Sequence[Site], changed: Collection[str], force: bool) -> Applied:
        """See the port. Raises ``Failed`` ``PROXY_CONFIG_FAILED`` with everything as it was."""
        environment = self.environment()
        if not environment.settings.enabled:
            return Applied(skipped=True, message="nginx is switched off (nginx.enabled)")
        with self._mutex:
            self.check_folder(environment)
            return Operation(self._workshop, environment, sites, frozenset(changed), force).run()

    def check_folder(self, environment: Environment) -> None:
        """Refuse a folder that is somebody else's: ``Failed`` ``NGINX_FOLDER_REFUSED``."""
        if environment.layout != self._checked:
            own_folder.check(environment.layout)
            self._checked = environment.layout

    @contextmanager
    def replacing(self, before: Environment) -> Iterator[None]:
        """Within, an apply raises what keeps a nginx that ran from running with changed settings.

        A container that has another name in the settings now is removed. Hold the proxy's lock.
        """
        old, new = before.settings, self.environment().settings
        with self._mutex:
            state = self.container.look(old.container_name, looks=1)
            renamed = old.container_name != new.container_name
            if renamed and not old.external and state.was_made_by(old):
                self.container.discard(before)
            self._workshop.strict = state.is_of(old)
            try:
                yield
            finally:
                self._workshop.strict = False

    def status(self, deployment: str) -> VirtualHost:
        """See the port."""
        return self.virtual_hosts().get(deployment, VirtualHost())

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """See the port; the panel's own site is among them, and files of others that are left out."""
        layout = self.environment().layout
        conf = layout.conf
        if not conf.is_dir():
            return {}
        found = {}
        reasons = refused_certificates.reasons(layout.folder)
        with self._mutex:
            live = self._workshop.live.read(conf)
        for name, file in live.items():
            if file.ours and name not in _SHARED and name.endswith(".conf"):
                modified = datetime.fromtimestamp(file.modified, UTC)
                deployment = name.removesuffix(".conf")
                found[deployment] = VirtualHost(
                    True, False, reasons.get(deployment, ""), conf / name, modified
                )
        for held in quarantine.read(conf).values():
            if held.deployment not in found:
                file_path = conf / f"{held.name}{quarantine.SUFFIX}"
                at = datetime.fromtimestamp(held.at, UTC)
                found[held.deployment] = VirtualHost(False, True, held.reason, file_path, at)
        return dict(sorted(found.items()))

    def endpoints(self) -> Endpoints:
        """See the port."""
        environment = self.environment()
        state = self.container.look(environment.settings.container_name, looks=1)
        return self.container.endpoints(state, environment.network)

    def probe(self, routes: Collection[Route]) -> Sequence[str]:
        """See the port."""
        return targets.probe(self._engine, routes, self.environment().network)

    def accepts(self, token: str) -> bool:
        """See the port."""
        return bool(token) and equal(token, self.token())

    def token(self) -> str:
        """The token of this panel's nginx; made at the first time. Raises ``Failed``."""
        environment = self.environment()
        return obtain(environment.layout.state, environment.settings.internal_api_token)

    def environment(self) -> Environment:
        """The settings and places as they are now."""
        return current(self._ctx)

    def repair(self) -> None:
        """Finish a swap that a crash cut off; what nginx must be told, the next apply tells it."""
        layout = self.environment().layout
        with self._mutex:
            if layout.conf.is_dir():
                Swap(Places(layout.conf, layout.lua), self._files).finish()

    def owes(self) -> str:
        """Why nginx must be seen to, though nothing has changed; empty where it need not.

        It starts again and again, or it runs and has not taken over what was swapped in.
        """
        environment = self.environment()
        settings, layout = environment.settings, environment.layout
        state = self.container.look(settings.container_name, looks=1)
        if state.kind == LOOPING:
            return "" if settings.external else LOOPS
        if not state.running or not layout.conf.is_dir():
            return ""
        with self._mutex:
            if Swap(Places(layout.conf, layout.lua), self._files).pending:
                return "its files were changed while it could not be told"
            wanted = generation.standing(layout.conf)
            places = self.container.endpoints(state, environment.network).http
            seen = self._workshop.watch.sees(wanted, places, starting=True)
        return "it does not serve its files as they are" if seen is False else ""

    def facts(self) -> ImageFacts:
        """What is known of the image, without asking it."""
        return self._workshop.preparation.last(self.environment())

    def was_made(self) -> bool:
        """Whether nginx's container has ever run."""
        return self._workshop.preparation.was_made(self.environment())

    def other_mounts(self) -> Sequence[str]:
        """Places where a container of ours has something else, or nothing, mounted than it should."""
        environment = self.environment()
        state = self.container.look(environment.settings.container_name, looks=1)
        found = self.container.mounts(state)
        if found is None or environment.settings.external or not state.was_made_by(environment.settings):
            return ()
        wanted = compose_file.mounted(environment.layout, self.facts().conf_path)
        return sorted({place for place, _ in wanted.items() ^ found.items()})

    def follow(self, deployment: str) -> None:
        """Reload, so that the new addresses of a served deployment's containers are asked for at once."""
        environment = self.environment()
        if not environment.settings.enabled or not self.status(deployment).exists:
            return
        # An apply that is under way reloads by itself.
        if self._mutex.acquire(timeout=FOLLOW_WITHIN):
            try:
                state = self.container.look(environment.settings.container_name, looks=1)
                if state.running:
                    self._workshop.signal(environment, state)
            finally:
                self._mutex.release()


BACKEND: ServiceKey[NginxBackend] = ServiceKey("nginx_backend", "nginx")
