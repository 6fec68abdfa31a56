"""Settings groups as plugins declare them, and the one way to change them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from marshmallow import Schema

from flatrun_core.ports.auth import Identity
from flatrun_core.services import ServiceKey


@dataclass(frozen=True, slots=True)
class SettingsGroup:
    """One group of ``flatrun.yml``; ``name`` is its dotted path (``infrastructure.database``).

    ``schema`` loads a frozen dataclass (``SettingsSchema`` of ``flatrun_core.fields``) and every
    field has a default and a ``description`` in its metadata. ``published`` groups appear in
    ``GET /api/settings``; ``read_only`` field names are answered there but refused by ``PUT``.
    """

    name: str
    schema: type[Schema]
    published: bool = True
    read_only: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """What ``apply_settings`` gets: both whole snapshots by group name, and the changed dotted names."""

    old: Mapping[str, Any]
    new: Mapping[str, Any]
    changed: frozenset[str]

    def touches(self, group: str) -> bool:
        """Whether any key of the group, or the group itself, changed."""
        return any(name == group or name.startswith(group + ".") for name in self.changed)


@dataclass(frozen=True, slots=True)
class Note:
    """What applying a change did, for routes that report it."""

    plugin: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SettingsResult:
    """The outcome of a change: the published settings as in GET, changed dotted names, notes."""

    settings: Mapping[str, Any]
    changed: tuple[str, ...]
    notes: tuple[Note, ...]


class SettingsService(Protocol):
    """The panel's settings while it runs."""

    def published(self) -> dict[str, Any]:
        """What GET answers: every published group of active plugins, secrets as ``has_`` booleans."""

    def change(self, body: Mapping[str, Any], identity: Identity) -> SettingsResult:
        """Merge, validate, write, swap and apply; all or nothing."""


SETTINGS: ServiceKey[SettingsService] = ServiceKey("settings", "core")
