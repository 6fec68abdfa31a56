"""One assembled panel: what the application object carries in ``app.extensions["flatrun"]``."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flatrun_core.api.streams import StreamGate
from flatrun_core.catalogue import Catalogue, Records
from flatrun_core.hooks import PluginHooks
from flatrun_core.plugins import PluginRecord
from flatrun_core.ports.auth import Access, Recorder
from flatrun_core.ports.proxy import ProxyBackend
from flatrun_core.ports.scheduling import JobKind, Timer
from flatrun_core.ports.settings import SettingsGroup
from flatrun_core.proxy import ProxyService
from flatrun_core.scheduler import TimerThread
from flatrun_core.services import Services

if TYPE_CHECKING:
    from flatrun_core.checks import Check
    from flatrun_core.db import MigrationSet, PanelDatabase
    from flatrun_core.docker.watcher import Watcher
    from flatrun_core.jobs import JobRunner
    from flatrun_core.programs import ProgramRunner
    from flatrun_core.settings import SettingsSource, SettingsStore

log = logging.getLogger(__name__)

STOP_JOBS_WITHIN = 10.0


@dataclass
class Panel:
    """The parts of one panel. ``start`` and ``stop`` are for the one process that serves."""

    source: "SettingsSource"
    settings: "SettingsStore"
    services: Services
    hooks: PluginHooks
    plugins: Sequence[PluginRecord]
    database: "PanelDatabase"
    streams: StreamGate
    proxy: ProxyService
    proxy_backends: dict[str, ProxyBackend]
    jobs: "JobRunner"
    job_kinds: dict[str, JobKind]
    watcher: "Watcher"
    programs: "ProgramRunner"
    state_folder: Path
    migrations: "Sequence[MigrationSet]" = ()
    permissions: Catalogue = field(default_factory=Catalogue)
    records: Records = field(default_factory=Records)
    groups: Sequence[tuple[str, SettingsGroup]] = ()
    timer_list: Sequence[Timer] = ()
    checks: "Sequence[tuple[str, Check]]" = ()
    accesses: dict[tuple[str, str], tuple[str, Access]] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    _timers: TimerThread | None = None

    @property
    def recorders(self) -> Sequence[Recorder]:
        """Who keeps a record of requests."""
        return self.records.recorders

    def groups_of(self, plugin: str) -> list[SettingsGroup]:
        """The settings groups one plugin registered."""
        return [group for slug, group in self.groups if slug == plugin]

    def start(self) -> None:
        """Start the Engine's watcher and the plugins; timers and jobs run in one process only."""
        self.watcher.start()
        self.hooks.notify("flatrun_on_serve")
        self._timers = TimerThread(
            self.timer_list,
            self.state_folder / "scheduler.lock",
            on_elected=self._elected,
            session=self.database.session,
        )
        self._timers.start()

    def _elected(self) -> None:
        self.jobs.recover()
        self.jobs.start()

    def stop(self) -> None:
        """Stop in reverse; work still running after a while is left to the next start's recovery."""
        self.streams.closing.set()
        if self._timers is not None:
            self._timers.stop()
        self.jobs.stop(STOP_JOBS_WITHIN)
        self.hooks.notify("flatrun_on_shutdown", reverse=True)
        self.programs.stop()
        self.watcher.stop()
        self.database.close()
