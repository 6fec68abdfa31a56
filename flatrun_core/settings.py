"""The panel's settings, and the one place where they change while it runs: all of it, or nothing."""

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from flatrun_core.errors import Conflict, Failed, Invalid
from flatrun_core.fields import Secret, ValidationError
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.scheduling import Locks
from flatrun_core.ports.settings import Note, SettingsChange, SettingsGroup, SettingsResult
from flatrun_core.settings_docs import settings_schema, settings_table
from flatrun_core.settings_file import EditError, SettingsError, edit, unshared, write_atomic
from flatrun_core.settings_groups import (
    CORE_GROUPS,
    TOP_LEVEL,
    ApiSettings,
    AuthSettings,
    PanelSettings,
    PluginSettings,
    ProxySettings,
)
from flatrun_core.settings_source import SettingsSource, Snapshot, describe, dotted

__all__ = [
    "CORE_GROUPS",
    "ApiSettings",
    "AuthSettings",
    "PanelSettings",
    "PluginSettings",
    "ProxySettings",
    "SettingsError",
    "SettingsSource",
    "SettingsStore",
    "Snapshot",
    "settings_table",
]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_WAIT_SECONDS = 30.0

# A key as (group, key), with the value a request gave it.
_Wanted = dict[tuple[str, str], Any]


class SettingsStore:
    """Implements ``SettingsService`` over one file; ``snapshot`` may be read from any thread."""

    def __init__(
        self,
        source: SettingsSource,
        groups: Sequence[SettingsGroup],
        locks: Locks,
        apply: Callable[[SettingsChange], list[Note]],
        known_absent: Collection[str] = (),
    ) -> None:
        self._source = source
        self._groups = tuple(groups)
        self._locks = locks
        self._apply = apply
        self._absent = known_absent
        self.snapshot = source.load(groups, known_absent=known_absent)

    def published(self) -> dict[str, Any]:
        """What GET answers."""
        return self.snapshot.published()

    def of(self, kind: type[T]) -> T:
        """The current values of the group that loads ``kind``; see ``Snapshot.of``."""
        return self.snapshot.of(kind)

    def json_schema(self, names: Collection[str]) -> dict[str, Any]:
        """The JSON Schema of the groups of these names."""
        return settings_schema(self._groups, names)

    def change(self, body: Mapping[str, Any], identity: Identity) -> SettingsResult:
        """Set the known keys of ``body``, which has the shape of ``published``; the others are ignored.

        400 for bad values and ``READ_ONLY_SETTING``; 409 ``SETTINGS_CONFLICT`` when the file cannot
        be read or changed; 500 ``SETTINGS_NOT_SAVED`` when it cannot be written. When applying
        fails, file and settings are put back, and the failure is raised.
        """
        with self._locks.hold("settings", wait=_WAIT_SECONDS):
            old = self.snapshot
            source, base = self._read_again()
            wanted = self._wanted(body, base)
            new = self._merged(source, wanted).pinned(old)
            text = self._new_text(source, wanted, new)
            changed = new.differences(old)
            if text != source.text:
                self._write(source, text)
            self.snapshot = new
            try:
                notes = self._apply(SettingsChange(old.values, new.values, changed)) if changed else []
            except Exception:
                self.snapshot = old
                self._put_back(SettingsChange(new.values, old.values, changed), source, text)
                raise
        if changed:
            who = identity.actor.name or identity.actor.type
            _LOG.info("settings changed by %s: %s", who, ", ".join(sorted(changed)))
        return SettingsResult(new.published(), tuple(sorted(changed)), tuple(notes))

    def _read_again(self) -> tuple[SettingsSource, Snapshot]:
        path = self._source.path
        if path is None:
            raise _conflict("The panel was started without a settings file, so nothing can be saved")
        try:
            source = SettingsSource.read(path, self._source.environ, self._source.overrides)
            return source, source.load(self._groups, known_absent=self._absent).pinned(self.snapshot)
        except SettingsError as exc:
            _LOG.warning("the settings file cannot be used: %s", "; ".join(exc.problems))
            raise _conflict("The settings file was edited and cannot be read; correct it first") from exc

    def _wanted(self, body: Mapping[str, Any], base: Snapshot) -> _Wanted:
        """The keys that would get another value, validated one by one."""
        wanted: _Wanted = {}
        problems: list[str] = []
        for place, group, key in _accepted(base):
            given, value = _find(body, place, problems)
            field = base.schemas[group].fields[key]
            if not given or (isinstance(field, Secret) and value == ""):
                continue
            try:
                loaded = field.deserialize(value)
                same = _frozen(loaded) == getattr(base.values[group], key)
                found: list[str] = []
            except ValidationError as exc:
                error = ValidationError({key: exc.messages})
                lines = describe(base.schemas[group], group, error, {})
                same, found = False, _renamed(lines, dotted(group, key), place)
            if same:
                continue
            _refuse_read_only(base, group, key, ".".join(place))
            problems += found
            wanted[group, key] = value
        if problems:
            raise Invalid("; ".join(dict.fromkeys(problems)))
        return wanted

    def _merged(self, source: SettingsSource, wanted: _Wanted) -> Snapshot:
        data = unshared(source.data)
        for (group, key), value in wanted.items():
            inner = data
            for part in group.split(".") if group else ():
                if inner.get(part) is None:
                    inner[part] = {}
                inner = inner[part]
            inner[key] = value
        try:
            return replace(source, data=data).load(self._groups, known_absent=self._absent)
        except SettingsError as exc:
            raise Invalid("; ".join(exc.problems)) from exc

    def _new_text(self, source: SettingsSource, wanted: _Wanted, new: Snapshot) -> str:
        changes = {
            (*(group.split(".") if group else ()), key): new.schemas[group]
            .fields[key]
            .serialize(key, new.values[group])
            for group, key in wanted
        }
        try:
            return edit(source.text, changes)
        except EditError as exc:
            names = ", ".join(".".join(path) for path in changes)
            message = f"The settings file is written in a way that {names} must be changed by hand"
            raise _conflict(message) from exc

    def _write(self, source: SettingsSource, text: str) -> None:
        assert source.path is not None  # noqa: S101 - for the type checker: _read_again refused None
        try:
            write_atomic(source.path, text.encode("utf-8"), expect=source.text.encode("utf-8"))
        except EditError as exc:
            raise _conflict("The settings file was edited at the same moment; try again") from exc
        except OSError as exc:
            _LOG.error("the settings file %s cannot be written: %s", source.path, exc)
            reason = os.strerror(exc.errno or 0)
            raise Failed(f"The settings could not be saved: {reason}", code="SETTINGS_NOT_SAVED") from exc

    def _put_back(self, reverse: SettingsChange, source: SettingsSource, text: str) -> None:
        try:
            if text != source.text:
                self._write(replace(source, text=text), source.text)
        except (Conflict, Failed):
            _LOG.exception("the settings file could not be put back after a failed change")
        try:
            self._apply(reverse)
        except Exception:  # noqa: BLE001 - the first failure is the one to report
            _LOG.exception("applying the earlier settings again failed")


def _conflict(message: str) -> Conflict:
    return Conflict(message, code="SETTINGS_CONFLICT")


def _accepted(snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Every key a request may name: its place in the body, its group and its name there."""
    for name, (group, key) in TOP_LEVEL.items():
        if group in snapshot.values:
            yield (name,), group, key
    for name, group_ in snapshot.groups.items():
        if group_.published:
            for key, field in snapshot.schemas[name].fields.items():
                if not field.dump_only:
                    yield (*name.split("."), key), name, key


def _find(body: Mapping[str, Any], place: tuple[str, ...], problems: list[str]) -> tuple[bool, Any]:
    found: Any = body
    for depth, part in enumerate(place):
        if not isinstance(found, Mapping):
            problems.append(f"{'.'.join(place[:depth])}: must be an object")
            return False, None
        if part not in found:
            return False, None
        found = found[part]
    return True, found


def _renamed(lines: list[str], name: str, place: tuple[str, ...]) -> list[str]:
    """Problems under the name that the request used instead of the file's."""
    return [".".join(place) + line.removeprefix(name) for line in lines]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _refuse_read_only(base: Snapshot, group: str, key: str, asked: str) -> None:
    name = dotted(group, key)
    said = asked if asked == name else f"{asked} ({name} in the file)"
    if key in base.groups[group].read_only:
        message = f"{said} can only be changed in the settings file, followed by a restart"
    elif name in base.fixed:
        message = f"{asked} is set by {base.fixed[name]} and cannot be changed here"
    else:
        return
    raise Invalid(message, code="READ_ONLY_SETTING")
