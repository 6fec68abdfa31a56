"""Creates deployments: completely or not at all, up to the point where they are to be started."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flatrun_core import FlatrunError, Forbidden, JoinFailed, PluginContext, Unavailable
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.deployments import (
    ROUTES,
    Created,
    DeploymentEvent,
    Draft,
    NewDeployment,
    Part,
)
from flatrun_core.ports.scheduling import Locks
from flatrun_deployments import env_file, network_names, planning, service_yml
from flatrun_deployments.catalogue import Catalogue
from flatrun_deployments.construction import Construction
from flatrun_deployments.discovery import Folder, is_removed
from flatrun_deployments.errors import deployment_exists, deployment_not_found
from flatrun_deployments.host_ports import Reservations, check_port
from flatrun_deployments.names import check_new
from flatrun_deployments.planning import COMPOSE_NAME, Plan
from flatrun_deployments.removal import removed_by
from flatrun_deployments.running import Running

log = logging.getLogger(__name__)

PUBLISH_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Site:
    """A creation at work: who asked for what, and where it goes."""

    new: NewDeployment
    identity: Identity
    plan: Plan
    construction: Construction


class Creation:
    """Creates deployments. ``root`` answers the folder that they are in."""

    def __init__(
        self,
        ctx: PluginContext,
        root: Callable[[], Path],
        catalogue: Catalogue,
        running: Running,
        locks: Locks,
    ) -> None:
        self._ctx = ctx
        self._root = root
        self._catalogue = catalogue
        self._running = running
        self._locks = locks
        self._reservations = Reservations()

    def create(self, new: NewDeployment, identity: Identity) -> Created:
        """Create and, when asked, start; see the contract of ``POST /api/deployments``.

        A failure before the deployment exists undoes everything and raises; later ones (login,
        start, proxy) are told in the result.
        """
        if not identity.may_create:
            raise Forbidden("No access to this deployment", code="DEPLOYMENT_FORBIDDEN")
        check_new(new.name)
        planning.check_wishes(self._ctx, new)
        plan = self._plan(new)
        self._catalogue.discovery.scan()  # makes a missing root
        with self._reservations.hold(new.name, plan.port), self._locks.hold("deployment", new.name):
            self._check_free(plan, identity)
            parts: list[Part] = []
            site = self._build(Site(new, identity, plan, self._claim(plan)), parts)
            self._notify("created", site)
            created = self._follow(site, tuple(warning for part in parts for warning in part.warnings))
        # An authority may take minutes, and nobody else is to wait for the deployment meanwhile.
        return replace(created, proxy_result=self._publish(plan))

    def _plan(self, new: NewDeployment) -> Plan:
        path = self._root() / new.name
        kept = env_file.read(path / env_file.FILENAME) if is_removed(path) else {}
        return planning.plan(self._ctx, new, kept, self._running.proxy_network(), datetime.now(UTC))

    def _check_free(self, plan: Plan, identity: Identity) -> None:
        path = self._root() / plan.name
        # What a removed deployment left may hold secrets: a namesake of another's is no way to them.
        asks = (identity.actor.type, identity.actor.id)
        if is_removed(path) and not identity.unscoped and removed_by(path) != asks:
            raise deployment_exists(plan.name)
        folders = self._catalogue.folders()
        planning.check_project(plan.name, folders)
        network_names.check(plan.name, plan.document, plan.variables, folders, self._running.proxy_network())
        if plan.port is not None:
            check_port(plan.port, plan.name, folders)

    def _claim(self, plan: Plan) -> Construction:
        planned = [COMPOSE_NAME, service_yml.FILENAME, env_file.FILENAME, *plan.files]
        return Construction.claim(self._root(), plan.name, planned, plan.folders)

    def _build(self, site: Site, parts: list[Part]) -> Site:
        """Steps 1 to 6: everything or nothing. ``parts`` receives what plugins added."""
        try:
            site = self._fill(site, parts)
            site.construction.commit()
        except BaseException:
            _undo(parts)
            site.construction.abandon()
            raise
        return site

    def _fill(self, site: Site, parts: list[Part]) -> Site:
        self._write(site)
        # A compose file may insist on the address of a database that is yet to be made.
        if not planning.wants_database(site.new):
            self._validate(site)
        if site.plan.exposed and self._ctx.services.find(ROUTES) is not None:
            self._running.ensure_proxy_network()
        self._join(site, parts)
        site = self._with_parts(site, parts)
        if planning.wants_database(site.new):
            self._validate(site)
        return site

    def _write(self, site: Site) -> None:
        plan, construction = site.plan, site.construction
        construction.write(COMPOSE_NAME, plan.compose)
        for relative in plan.folders:
            construction.folder(relative)
        for relative, text in plan.files.items():
            construction.write(relative, text)
        env_file.update(construction.path / env_file.FILENAME, plan.env)
        construction.write(service_yml.FILENAME, service_yml.render_new(plan.metadata))

    def _validate(self, site: Site) -> None:
        try:
            self._running.validate(self._load(site))
        except Unavailable as exc:
            # Without Docker a deployment can be prepared all the same.
            log.info("%s is not checked by compose: %s", site.plan.name, exc)

    def _join(self, site: Site, parts: list[Part]) -> None:
        plan, path = site.plan, site.construction.path
        draft = Draft(plan.name, path, plan.document, plan.metadata, site.new, site.identity)
        try:
            joined = self._ctx.hooks.join("flatrun_join_deployment_create", draft=draft)
        except JoinFailed as failure:
            parts.extend(part for _, part in failure.done)
            raise failure.cause from failure
        parts.extend(part for _, part in joined)

    def _with_parts(self, site: Site, parts: list[Part]) -> Site:
        added: dict[str, str] = {}
        networks: list[str] = []
        for part in parts:
            added.update(part.env)
            networks.extend(name for name in part.networks if name not in networks)
        if not added and not networks:
            return site
        plan = site.plan.with_env(added, site.new.env)
        site = Site(site.new, site.identity, _with_networks(plan, networks), site.construction)
        self._write(site)
        return site

    def _load(self, site: Site) -> Folder:
        folder = self._catalogue.discovery.load(site.construction.path)
        if folder is None:
            raise deployment_not_found()
        return folder

    def _follow(self, site: Site, warnings: tuple[str, ...]) -> Created:
        """Steps 7 and 8: what fails here is told and undoes nothing."""
        folder = self._load(site)
        try:
            started = self._start(folder, site) if site.new.auto_start else ("", "", "")
        finally:
            site.construction.finish()
        return Created(
            name=folder.name,
            auto_started=site.new.auto_start,
            start_output=started[0],
            start_error=started[1],
            registry_login_error=started[2],
            warnings=warnings,
            credentials=site.plan.credentials,
        )

    def _start(self, folder: Folder, site: Site) -> tuple[str, str, str]:
        output = error = login_error = ""
        with ExitStack() as stack:
            env: Mapping[str, str] = {}
            try:
                env = stack.enter_context(self._running.login(folder))
            except FlatrunError as exc:
                login_error = exc.message
            try:
                output = self._running.act(folder, "start", env)
                self._notify("started", site)
            except FlatrunError as exc:
                output, error = str(exc.details.get("output", "")), exc.message
        return output, error, login_error

    def _publish(self, plan: Plan) -> Mapping[str, Any] | None:
        if not plan.exposed:
            return None
        routes = self._ctx.services.find(ROUTES)
        if routes is None:
            return _proxy_result(plan.name, "No proxy plugin is active", skipped=True)
        error = ""
        for _ in range(PUBLISH_TRIES):
            try:
                return routes.publish(plan.name)
            except FlatrunError as exc:
                error = exc.message
                log.warning("publishing %s failed: %s", plan.name, error)
        return _proxy_result(plan.name, error, skipped=False)

    def _notify(self, what: str, site: Site) -> None:
        event = DeploymentEvent(site.plan.name, site.construction.path, site.identity)
        self._ctx.hooks.notify(f"flatrun_on_deployment_{what}", event=event)


def _undo(parts: list[Part]) -> None:
    for part in reversed(parts):
        if part.undo is None:
            continue
        try:
            part.undo()
        except Exception:
            log.exception("a part of a failed creation could not be taken back")


def _with_networks(plan: Plan, networks: list[str]) -> Plan:
    if not networks:
        return plan
    networking = {**plan.metadata.get("networking", {}), "networks": networks}
    return replace(plan, metadata={**plan.metadata, "networking": networking})


def _proxy_result(name: str, message: str, *, skipped: bool) -> dict[str, Any]:
    return {
        "deployment_name": name,
        "success": False,
        "skipped": skipped,
        "message": message,
        "virtual_host_created": False,
        "nginx_reloaded": False,
        "certificate_requested": False,
        "certificate_exists": False,
    }
