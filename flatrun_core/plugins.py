"""Finds plugins through entry points, loads them, and keeps what became of each."""

import enum
import importlib.metadata
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pluggy

from flatrun_core.context import PLUGIN_TYPES, PluginInfo
from flatrun_core.errors import StartupError
from flatrun_core.hooks import PluginFailure, describe
from flatrun_core.markers import ENTRY_POINT_GROUP, HOOK_API, PROJECT

log = logging.getLogger(__name__)

CORE = "core"
DISTRIBUTION = "flatrun-core"


class Status(enum.StrEnum):
    """What became of a plugin."""

    ACTIVE = "active"
    DISABLED = "disabled"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"


@dataclass
class PluginRecord:
    """A plugin that was found, and what became of it; ``module`` is None until it is loaded."""

    slug: str
    distribution: str = ""
    version: str = ""
    description: str = ""
    author: str = ""
    homepage: str = ""
    entry_point: importlib.metadata.EntryPoint | None = None
    module: Any = None
    info: PluginInfo | None = None
    status: Status = Status.ACTIVE
    reason: str = ""
    capabilities: list[str] = field(default_factory=list)
    permissions: list[str] = field(default_factory=list)
    settings_schema: dict[str, Any] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the plugin takes part."""
        return self.status is Status.ACTIVE

    def fail(self, reason: str, status: Status = Status.FAILED) -> None:
        """Take the plugin out, with a reason; what was loaded stays only as a record."""
        self.status, self.reason = status, reason
        log.warning("plugin %s is %s: %s", self.slug, status, reason)


def discover(entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> list[PluginRecord]:
    """Every installed plugin by slug, none imported yet; two of one slug stop the start."""
    found = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP) if entry_points is None else entry_points
    records: dict[str, PluginRecord] = {}
    for point in sorted(found, key=lambda item: (item.name, item.value)):
        record = _record(point)
        other = records.get(record.slug)
        if other is not None:
            raise StartupError(
                f"two installed plugins are called '{record.slug}': {_origin(other)} and {_origin(record)}; "
                "uninstall one of them"
            )
        records[record.slug] = record
    return list(records.values())


def of_modules(modules: Sequence[Any]) -> list[PluginRecord]:
    """Records for plugins given directly, without an entry point: modules, or objects with ``PLUGIN``."""
    return [
        PluginRecord(
            slug=module.PLUGIN.slug,
            distribution=getattr(module, "__name__", type(module).__name__),
            version="0",
            module=module,
        )
        for module in modules
    ]


def select(records: Iterable[PluginRecord], *, disabled: Collection[str], only: Collection[str]) -> None:
    """Mark what the settings leave out; a disabled plugin is never imported."""
    for record in records:
        if record.slug in disabled:
            record.fail("disabled in the settings (plugins.disabled)", Status.DISABLED)
        elif only and record.slug not in only:
            record.fail("not named in the settings (plugins.only)", Status.DISABLED)


def load(record: PluginRecord) -> None:
    """Import a plugin and check what it says of itself; a failure is its record's reason."""
    try:
        if record.module is None and record.entry_point is not None:
            record.module = record.entry_point.load()
        info = getattr(record.module, "PLUGIN", None)
        if not isinstance(info, PluginInfo):
            raise PluginFailure(
                record.slug, "its entry point does not name a module with PLUGIN = PluginInfo(...)"
            )
        _check_info(record.slug, info)
    except PluginFailure as failure:
        record.fail(failure.reason)
    except Exception as exc:
        log.debug("importing plugin %s failed", record.slug, exc_info=True)
        record.fail(f"cannot be imported: {describe(exc)}")
    else:
        record.info = info


def order(records: Sequence[PluginRecord]) -> list[PluginRecord]:
    """Active plugins so that each comes after what it requires, by slug where free.

    A plugin whose requirement is not active becomes ``unavailable``; a circle stops the start.
    """
    active = {record.slug: record for record in records if record.active}
    _drop_unmet(active, {record.slug: record for record in records})
    ordered: list[PluginRecord] = []
    placed: set[str] = set()
    while len(ordered) < len(active):
        ready = [r for r in active.values() if r.slug not in placed and _requires(r) <= placed]
        if not ready:
            circle = ", ".join(sorted(set(active) - placed))
            raise StartupError(f"these plugins require one another in a circle: {circle}")
        first = min(ready, key=lambda record: record.slug)
        ordered.append(first)
        placed.add(first.slug)
    return ordered


def first_party() -> frozenset[str]:
    """Slugs that the core's own extras name."""
    try:
        extras = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return frozenset()
    return frozenset(extra.replace("-", "_") for extra in extras) | frozenset(extras)


def build_manager(records: Sequence[PluginRecord], core: ModuleType) -> pluggy.PluginManager:
    """A plugin manager with the core's specifications, the core's own hooks and the plugins'."""
    pm = pluggy.PluginManager(PROJECT)
    pm.add_hookspecs(_core_hookspecs())
    pm.register(core, CORE)
    for record in records:
        try:
            pm.register(record.module, record.slug)
        except Exception as exc:
            raise PluginFailure(
                record.slug, f"a hook does not fit its specification: {describe(exc)}", exc
            ) from exc
    return pm


def check_hooks(pm: pluggy.PluginManager) -> None:
    """Turn a misspelt hook into a failure of its plugin instead of silence."""
    try:
        pm.check_pending()
    except pluggy.PluginValidationError as exc:
        slug = pm.get_name(exc.plugin) or CORE
        raise PluginFailure(slug, describe(exc), exc) from exc


def _core_hookspecs() -> ModuleType:
    import hookspecs  # noqa: PLC0415 - found from wherever it is installed, and checked at once

    # A file of this common name in the working directory shadows ours under `python -m`.
    if getattr(hookspecs, "SPECIFIES", None) != PROJECT:
        raise StartupError(
            f"another module called 'hookspecs' ({hookspecs.__file__}) hides Flatrun's; "
            "start from another folder"
        )
    return hookspecs


def _record(point: importlib.metadata.EntryPoint) -> PluginRecord:
    record = PluginRecord(slug=point.name, entry_point=point)
    if point.dist is not None:
        metadata = point.dist.metadata
        record.distribution = _text(metadata, "Name")
        record.version = point.dist.version
        record.description = _text(metadata, "Summary")
        record.author = _text(metadata, "Author") or _text(metadata, "Author-email")
        record.homepage = _text(metadata, "Home-page") or _project_url(metadata.get_all("Project-URL") or [])
    return record


def _text(metadata: Any, field: str) -> str:
    return str(metadata[field]) if field in metadata else ""


def _project_url(urls: Sequence[str]) -> str:
    pairs = dict(url.split(", ", 1) for url in urls if ", " in url)
    return pairs.get("Homepage") or next(iter(pairs.values()), "")


def _check_info(slug: str, info: PluginInfo) -> None:
    if info.slug != slug:
        raise PluginFailure(slug, f"its entry point is called '{slug}' but PLUGIN.slug is '{info.slug}'")
    if info.hook_api != HOOK_API:
        raise PluginFailure(slug, f"written for hook API {info.hook_api}; this core has {HOOK_API}")
    if info.type not in PLUGIN_TYPES:
        raise PluginFailure(slug, f"PLUGIN.type '{info.type}' is none of {', '.join(PLUGIN_TYPES)}")


def _drop_unmet(active: dict[str, PluginRecord], everything: dict[str, PluginRecord]) -> None:
    changed = True
    while changed:
        changed = False
        for record in list(active.values()):
            missing = sorted(_requires(record) - active.keys())
            if missing:
                states = ", ".join(f"'{slug}', which is {_state(everything.get(slug))}" for slug in missing)
                record.fail(f"requires {states}", Status.UNAVAILABLE)
                del active[record.slug]
                changed = True


def _requires(record: PluginRecord) -> set[str]:
    return set(record.info.requires) if record.info else set()


def _state(record: PluginRecord | None) -> str:
    return str(record.status) if record is not None else "not installed"


def _origin(record: PluginRecord) -> str:
    return f"{record.distribution or record.entry_point} {record.version}".strip()
