"""``create_app``: one panel as a Flask application. It starts no thread; ``flatrun serve`` does."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from flask import Flask

from flatrun_core import __version__, assembly, builtin, plugins
from flatrun_core.api.errors import register_error_handlers
from flatrun_core.api.openapi import build_document, make_api, settings_schema
from flatrun_core.api.pipeline import Pipeline
from flatrun_core.api.streams import StreamGate
from flatrun_core.catalogue import Catalogue, Records
from flatrun_core.context import PluginContext, PluginInfo
from flatrun_core.db import MigrationSet, open_database
from flatrun_core.docker import ComposeCli, DockerEngine, Watcher
from flatrun_core.encryption import PanelEncryption
from flatrun_core.errors import StartupError
from flatrun_core.hooks import PluginFailure, PluginHooks, describe
from flatrun_core.jobs import JobRow, JobRunner
from flatrun_core.locks import LockTable
from flatrun_core.markers import HOOK_API
from flatrun_core.panel import Panel
from flatrun_core.plugins import CORE, PluginRecord
from flatrun_core.ports.auth import PERMISSIONS, RECORD
from flatrun_core.ports.docker import COMPOSE, ENGINE
from flatrun_core.ports.programs import PROGRAMS
from flatrun_core.ports.proxy import PROXY, ProxyBackend
from flatrun_core.ports.scheduling import JOBS, LOCKS, JobKind
from flatrun_core.ports.secrets import ENCRYPTION, SIGNING
from flatrun_core.ports.settings import SETTINGS, SettingsChange
from flatrun_core.ports.storage import DATABASE
from flatrun_core.programs import ProgramRunner
from flatrun_core.proxy import ProxyService
from flatrun_core.services import ServiceKey, Services
from flatrun_core.settings import (
    CORE_GROUPS,
    ApiSettings,
    AuthSettings,
    PanelSettings,
    PluginSettings,
    ProxySettings,
    SettingsSource,
    SettingsStore,
)
from flatrun_core.signing import PanelSigning
from flatrun_core.storage import sqlite_url

log = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
STATE_FOLDER = ".flatrun"

Overrides = dict[ServiceKey[Any], Callable[[], Any]]


def create_app(
    config: SettingsSource | None = None,
    *,
    plugins: Sequence[Any] | None = None,
    strict: bool | None = None,
    migrate: bool = False,
    services: Overrides | None = None,
) -> Flask:
    """Assemble a panel.

    ``config`` is the settings' source (default: the environment alone). ``plugins`` names slugs to
    load, or gives modules or objects with ``PLUGIN``; None loads every installed one. With ``strict``
    any plugin's failure stops the start. ``migrate`` permits changing an existing database, after a
    copy. ``services`` replaces services of the core, for tests. Raises ``StartupError`` with a text
    for people, or ``SettingsError`` with every problem of the configuration.
    """
    source = config or SettingsSource.read(None, os.environ)
    chosen = source.load(CORE_GROUPS).of(PluginSettings)
    records = _find(plugins, chosen)
    builder = _Builder(source, records, services or {})
    panel, app = assembly.assemble(records, builder.attempt, strict=bool(strict), required=chosen.required)
    for warning in panel.settings.snapshot.warnings:
        log.warning("%s", warning)
    panel.database.prepare(panel.migrations, migrate=migrate)
    return app


def _find(chosen: Sequence[Any] | None, settings: PluginSettings) -> list[PluginRecord]:
    if chosen is None:
        records = plugins.discover()
    else:
        names = {item for item in chosen if isinstance(item, str)}
        records = [record for record in plugins.discover() if record.slug in names] if names else []
        records += plugins.of_modules([item for item in chosen if not isinstance(item, str)])
        missing = names - {record.slug for record in records}
        if missing:
            raise StartupError(f"these plugins are not installed: {', '.join(sorted(missing))}")
    records.sort(key=lambda record: record.slug)
    plugins.select(records, disabled=settings.disabled, only=settings.only)
    for record in records:
        if record.active:
            plugins.load(record)
    return records


@dataclass
class _Builder:
    """One attempt after the other; each makes everything anew."""

    source: SettingsSource
    records: Sequence[PluginRecord]
    overrides: Overrides

    def attempt(self, active: Sequence[PluginRecord]) -> tuple[Panel, Flask]:
        """Build a panel with these plugins, or raise ``PluginFailure``."""
        pm = plugins.build_manager(active, builtin)
        hooks = PluginHooks(pm, [*(record.slug for record in active), CORE])
        services = Services()
        stores: list[SettingsStore] = []
        hooks.use_contexts(_contexts(active, services, _late(stores), hooks))
        for slug, module in hooks.register("flatrun_register_hookspecs"):
            _add_specs(pm, slug, module)
        plugins.check_hooks(pm)
        groups = hooks.register("flatrun_register_settings")
        locks = LockTable()
        checked = assembly.check_groups(groups, active)
        stores.append(SettingsStore(self.source, checked, locks, lambda change: _apply(hooks, change)))
        panel = _new_panel(self, hooks, services, stores[0], locks)
        panel.groups = groups
        try:
            _set_up(panel, active)
            app = _build_app(panel, active)
        except BaseException:
            panel.database.close()
            raise
        _describe(self.records, panel, hooks)
        return panel, app


def _contexts(
    active: Sequence[PluginRecord],
    services: Services,
    settings: Callable[[type[Any]], Any],
    hooks: PluginHooks,
) -> dict[str, PluginContext]:
    infos = [_CORE_INFO, *(record.info for record in active if record.info)]
    return {info.slug: PluginContext(info, services, settings, hooks) for info in infos}


def _set_up(panel: Panel, active: Sequence[PluginRecord]) -> None:
    panel.hooks.register("flatrun_on_setup")
    _collect(panel, active)
    failed = panel.services.build_all()
    if failed is not None:
        slug, exc = failed
        if isinstance(exc, PluginFailure):
            # A factory may call hooks; the plugin whose implementation failed is the one to blame.
            raise exc
        raise PluginFailure(slug, f"a service cannot be built: {describe(exc)}", exc)
    panel.services.freeze()


_CORE_INFO = PluginInfo(slug=CORE, hook_api=HOOK_API, display_name="Core")


def _add_specs(pm: pluggy.PluginManager, slug: str, module: ModuleType) -> None:
    try:
        pm.add_hookspecs(module)
    except Exception as exc:
        raise PluginFailure(slug, f"its hook specifications are not usable: {describe(exc)}", exc) from exc


def _new_panel(
    builder: _Builder, hooks: PluginHooks, services: Services, settings: SettingsStore, locks: LockTable
) -> Panel:
    chosen = settings.snapshot.of(PanelSettings)
    state_folder = Path(chosen.deployments_path) / STATE_FOLDER
    backends = assembly.unique(hooks.register("flatrun_register_storage_backends"), "storage backend")
    database = open_database(chosen.database or sqlite_url(state_folder / "flatrun.db"), backends)
    kinds: dict[str, JobKind] = {}
    proxies: dict[str, ProxyBackend] = {}
    jobs = JobRunner(database, kinds, locks, lambda event: _job_failed(hooks, event))
    proxy = ProxyService(proxies, lambda: settings.snapshot.of(ProxySettings).backend, hooks, locks)
    programs = ProgramRunner()
    engine = DockerEngine()
    permissions, records = Catalogue(), Records()
    core: dict[ServiceKey[Any], Any] = {
        PROGRAMS: programs,
        ENGINE: engine,
        COMPOSE: ComposeCli(programs, engine.touch, engine.client.host, engine.settle),
        LOCKS: locks,
        DATABASE: database,
        SETTINGS: settings,
        JOBS: jobs,
        PROXY: proxy,
        PERMISSIONS: permissions,
        RECORD: records,
        SIGNING: PanelSigning(lambda: settings.snapshot.of(AuthSettings).secret_key, state_folder),
        ENCRYPTION: PanelEncryption(builder.source.environ.get("FLATRUN_SECRET_KEY", ""), state_folder),
    }
    for key, value in core.items():
        services.provide(key, builder.overrides.get(key, _constant(value)))
    return Panel(
        source=builder.source,
        settings=settings,
        services=services,
        hooks=hooks,
        plugins=builder.records,
        database=database,
        streams=StreamGate(lambda: settings.snapshot.of(ApiSettings).max_streams),
        proxy=proxy,
        proxy_backends=proxies,
        jobs=jobs,
        job_kinds=kinds,
        watcher=Watcher(engine),
        programs=programs,
        state_folder=state_folder,
        permissions=permissions,
        records=records,
    )


def _collect(panel: Panel, active: Sequence[PluginRecord]) -> None:
    hooks = panel.hooks
    models = hooks.register("flatrun_register_models")
    assembly.check_models(models)
    panel.database.bind([model for _, model in models])
    panel.migrations = _migration_sets(active, models)
    panel.permissions.fill(assembly.known_permissions(hooks.register("flatrun_register_permissions"), active))
    panel.records.recorders = assembly.unique(hooks.register("flatrun_register_recorders"), "recorder")
    kinds = assembly.unique(hooks.register("flatrun_register_jobs"), "job kind")
    panel.job_kinds.update((kind.name, kind) for kind in kinds)
    proxies = assembly.unique(hooks.register("flatrun_register_proxy_backends"), "proxy backend")
    panel.proxy_backends.update((backend.name, backend) for backend in proxies)
    panel.timer_list = assembly.unique(hooks.register("flatrun_register_timers"), "timer")
    panel.checks = hooks.register("flatrun_register_checks")


def _migration_sets(active: Sequence[PluginRecord], models: Sequence[tuple[str, Any]]) -> list[MigrationSet]:
    own = Path(__file__).parent / "migrations"
    sets = [MigrationSet(CORE, own, (JobRow,))]
    for record in active:
        folder = assembly.migrations_folder(record)
        if folder is not None:
            mine = tuple(model for slug, model in models if slug == record.slug)
            sets.append(MigrationSet(record.slug, folder, mine))
    return sets


def _build_app(panel: Panel, active: Sequence[PluginRecord]) -> Flask:
    app = Flask("flatrun_core", static_folder=None, template_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY, PROVIDE_AUTOMATIC_OPTIONS=False, PROPAGATE_EXCEPTIONS=False
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.compact = True  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    app.extensions["flatrun"] = panel
    app.extensions["flatrun_pipeline"] = Pipeline(app, panel)
    register_error_handlers(app)
    api = make_api(app, __version__)
    routes = assembly.RouteTable(app, active, panel.permissions.known().values())
    for slug, blueprint in sorted(
        panel.hooks.register("flatrun_register_blueprints"), key=lambda pair: pair[0] != CORE
    ):
        routes.register(slug, _registration(api, blueprint))
    panel.accesses = routes.accesses
    panel.document = build_document(api, routes.accesses)
    return app


def _describe(records: Sequence[PluginRecord], panel: Panel, hooks: PluginHooks) -> None:
    for record in records:
        if record.active and record.info is not None:
            record.capabilities = panel.services.offered_by(record.slug) + hooks.implemented_by(record.slug)
            record.permissions = sorted(
                {
                    name
                    for slug, access in panel.accesses.values()
                    if slug == record.slug
                    for name in access.permissions
                }
            )
            record.settings_schema = settings_schema(panel.groups_of(record.slug))


def _late(stores: Sequence[SettingsStore]) -> Callable[[type[Any]], Any]:
    """Settings for contexts, which exist before the settings are loaded."""
    return lambda kind: stores[0].snapshot.of(kind)  # noqa: PLW0108 - the list is still empty here


def _apply(hooks: PluginHooks, change: SettingsChange) -> list[Any]:
    return [note for _, note in hooks.all("flatrun_apply_settings", change=change)]


def _job_failed(hooks: PluginHooks, event: Any) -> None:
    hooks.notify("flatrun_on_job_failed", event=event)


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _registration(api: Any, blueprint: Any) -> Callable[[], None]:
    return lambda: api.register_blueprint(blueprint)
