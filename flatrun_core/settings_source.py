"""Where settings come from (``SettingsSource``) and the validated whole (``Snapshot``)."""

import dataclasses
import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from flatrun_core.fields import (
    TOO_SHORT,
    Boolean,
    Field,
    Float,
    Integer,
    List,
    Schema,
    Secret,
    ValidationError,
    flatten_errors,
    is_secret,
)
from flatrun_core.ports.settings import SettingsGroup
from flatrun_core.settings_file import SettingsError, parse
from flatrun_core.settings_groups import TOP_LEVEL

T = TypeVar("T")

_PREFIX = "FLATRUN_"
# Read elsewhere: by the users plugin, the secret store, the command and its client.
_OTHER_VARIABLES = frozenset(
    {
        "FLATRUN_ADMIN_PASSWORD",
        "FLATRUN_ADMIN_PASSWORD_FILE",
        "FLATRUN_SECRET_KEY",
        "FLATRUN_CONFIG",
        "FLATRUN_URL",
        "FLATRUN_API_KEY",
        "FLATRUN_HOME",
    }
)
_SECRET_FILE_LIMIT = 65_536
_SAFE_MESSAGES = frozenset({"Not a valid string.", "Not a valid list.", "Field may not be null.", TOO_SHORT})


class Snapshot:
    """Every group's validated values at one moment; replaced as a whole, never changed.

    ``fixed`` maps dotted keys that neither the file nor a request can set to what sets them.
    """

    def __init__(
        self,
        groups: Sequence[SettingsGroup],
        values: Mapping[str, Any],
        warnings: Sequence[str] = (),
        fixed: Mapping[str, str] | None = None,
    ) -> None:
        self.groups = {group.name: group for group in groups}
        self.schemas: dict[str, Schema] = {group.name: group.schema() for group in groups}
        self.values = values
        self.warnings = tuple(warnings)
        self.fixed = fixed or {}
        self._by_type = {type(value): value for value in values.values()}

    def of(self, kind: type[T]) -> T:
        """The group that loads ``kind``; ``LookupError`` when no active plugin declares it."""
        if kind not in self._by_type:
            raise LookupError(f"no active plugin declares settings of type {kind.__name__}")
        return cast(T, self._by_type[kind])

    def group(self, name: str) -> Any:
        """The group of a dotted name; ``LookupError`` when there is none."""
        if name not in self.values:
            raise LookupError(f"no active plugin declares the settings group '{name}'")
        return self.values[name]

    def published(self) -> dict[str, Any]:
        """What GET answers; of secrets only whether there is one."""
        shown: dict[str, Any] = {
            name: self.schemas[group].fields[key].serialize(key, self.values[group])
            for name, (group, key) in TOP_LEVEL.items()
            if group in self.values
        }
        for name, group in self.groups.items():
            if group.published:
                inner = shown
                for part in name.split("."):
                    inner = inner.setdefault(part, {})
                inner.update(self._shown(name))
        return shown

    def _shown(self, name: str) -> dict[str, Any]:
        schema, value = self.schemas[name], self.values[name]
        shown = cast(dict[str, Any], schema.dump(value))
        for key, field in schema.fields.items():
            if is_secret(field):
                shown.pop(key, None)
                flag = field.flag if isinstance(field, Secret) else None
                if flag != "":
                    shown[flag or f"has_{key}"] = bool(getattr(value, key))
        return shown

    def pinned(self, old: "Snapshot") -> "Snapshot":
        """This snapshot with the read-only keys of the running one: those need a restart."""
        values = {
            name: dataclasses.replace(
                value, **{key: getattr(old.values[name], key) for key in self.groups[name].read_only}
            )
            for name, value in self.values.items()
        }
        return Snapshot(tuple(self.groups.values()), values, self.warnings, self.fixed)

    def differences(self, other: "Snapshot") -> frozenset[str]:
        """Dotted names of the keys whose values are not the same."""
        return frozenset(
            dotted(name, field.name)
            for name, value in self.values.items()
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != getattr(other.values[name], field.name)
        )


@dataclasses.dataclass(frozen=True)
class SettingsSource:
    """The file's text and the environment, read but not yet validated."""

    path: Path | None = None
    text: str = dataclasses.field(default="", repr=False)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def read(
        cls, path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None
    ) -> "SettingsSource":
        """Read the file, if any. ``overrides`` wins over both; its keys may be dotted or nested.

        Raises ``SettingsError`` for a file that cannot be read or is not YAML, with line and column.
        """
        ours = {name: value for name, value in environ.items() if name.startswith(_PREFIX)}
        text = _read_text(path) if path is not None else ""
        data = parse(text, path.name) if path is not None else {}
        return cls(path, text, data, ours, _nested(overrides or {}))

    def load(
        self,
        groups: Sequence[SettingsGroup],
        *,
        known_absent: Collection[str] = (),
        partial: bool = False,
    ) -> Snapshot:
        """Validate these groups; sections of no group are kept in the file and warned of.

        ``known_absent`` are groups of plugins that are not active, not worth a warning; with
        ``partial`` nothing is, as other groups are yet to come. Raises ``SettingsError`` with every
        problem there is, each naming its dotted key.
        """
        loading = _Loading(self, groups, known_absent)
        values = loading.run()
        return Snapshot(groups, values, () if partial else loading.warnings, loading.fixed)


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as exc:
        raise SettingsError([f"{path}: cannot be read: {os.strerror(exc.errno or 0)}"]) from exc
    except UnicodeDecodeError:
        raise SettingsError([f"{path.name}: is not UTF-8 text"]) from None


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, value in overrides.items():
        if value is None:
            continue
        *outer, last = name.split(".")
        inner = data
        for part in outer:
            inner = inner.setdefault(part, {})
        if isinstance(value, Mapping):
            inner.setdefault(last, {}).update(_nested(value))
        else:
            inner[last] = str(value) if isinstance(value, Path) else value
    return data


class _Loading:
    """One validation of a source: what was found wrong, and what is only worth a word."""

    def __init__(
        self, source: SettingsSource, groups: Sequence[SettingsGroup], known_absent: Collection[str]
    ) -> None:
        self.source = source
        self.groups = groups
        self.absent = known_absent
        self.names = {group.name for group in groups}
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.fixed: dict[str, str] = {}
        self.seen: set[str] = set()

    def run(self) -> dict[str, Any]:
        if len(self.names) != len(self.groups):
            raise SettingsError(["two plugins declare the same settings group"])
        values = {group.name: self._load(group) for group in self.groups}
        for prefix in sorted(self._prefixes() - self.names):
            self._split(prefix, self._section(self.source.data, prefix), {})
        self._check_variables()
        if self.problems:
            raise SettingsError(self.problems)
        return values

    def _prefixes(self) -> set[str]:
        """Every section that contains a group, the whole file included."""
        parts = [name.split(".") for name in self.names if name]
        return {""} | {".".join(p[:depth]) for p in parts for depth in range(1, len(p))}

    def _load(self, group: SettingsGroup) -> Any:
        schema = group.schema()
        found = self._split(group.name, self._section(self.source.data, group.name), schema.fields)
        # A key written without a value means its default, as a section without one does.
        raw = {key: value for key, value in found.items() if value is not None or key not in schema.fields}
        raw |= self._from_environment(group.name, schema.fields)
        over = self._split(group.name, self._section(self.source.overrides, group.name), schema.fields)
        self.fixed |= {dotted(group.name, key): "the command line" for key in over}
        try:
            return schema.load(raw | over)
        except ValidationError as exc:
            self.problems += describe(schema, group.name, exc, raw | over)
            return None

    def _section(self, data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        found: Any = data
        for part in name.split(".") if name else ():
            found = found.get(part)
            if found is None:
                return {}
            if not isinstance(found, Mapping):
                self._problem(f"{name}: must be a section with keys")
                return {}
        return cast(Mapping[str, Any], found)

    def _split(
        self, name: str, section: Mapping[str, Any], known: Mapping[str, Field[Any]]
    ) -> dict[str, Any]:
        """The group's own keys in a section; sections inside belong to others."""
        own: dict[str, Any] = {}
        prefixes = self._prefixes()
        for key, value in section.items():
            inner = dotted(name, str(key))
            if key in known or not (inner in self.names or inner in prefixes or inner in self.absent):
                own[str(key)] = value
        unknown = {key: value for key, value in own.items() if key not in known}
        for key, value in unknown.items():
            if isinstance(value, Mapping) or value is None or name not in self.names:
                del own[key]
                if name not in self.absent:
                    self.warnings.append(
                        f"{dotted(name, key)}: belongs to no active plugin; it has no effect"
                    )
        return own

    def _from_environment(self, name: str, fields: Mapping[str, Field[Any]]) -> dict[str, Any]:
        found = {}
        for key, field in fields.items():
            variable = variable_name(name, key)
            text = self._variable(variable, secret=is_secret(field))
            if text is None:
                continue
            self.fixed[dotted(name, key)] = f"the environment variable {variable}"
            try:
                found[key] = _from_text(field, text)
            except SettingsError:
                self.problems.append(f"{dotted(name, key)}: {variable} is not a value of its type")
        return found

    def _variable(self, name: str, *, secret: bool) -> str | None:
        self.seen.add(name)
        text = self.source.environ.get(name)
        if not secret:
            return text
        self.seen.add(f"{name}_FILE")
        path = self.source.environ.get(f"{name}_FILE")
        if path is None:
            return text
        if text is not None:
            self.problems.append(f"{name} and {name}_FILE are both set")
        try:
            with Path(path).open("rb") as file:
                return file.read(_SECRET_FILE_LIMIT).decode("utf-8").rstrip("\r\n")
        except (OSError, ValueError):
            self.problems.append(f"{name}_FILE: the file it names cannot be read")
            return None

    def _check_variables(self) -> None:
        sections = {variable_name(name, "")[: -len("__")] for name in self.names if name}
        quiet = tuple(variable_name(name, "") for name in self.absent if name)
        for variable in sorted(set(self.source.environ) - self.seen - _OTHER_VARIABLES):
            if variable.rpartition("__")[0] in sections:
                self.problems.append(f"{variable}: names no setting{_hint(variable, self.seen)}")
            elif not variable.startswith(quiet):
                self.warnings.append(f"{variable}: names no setting; ignored")

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)


def dotted(group: str, key: str) -> str:
    """A key's full name: ``api.port``, or the key alone at the top of the file."""
    return f"{group}.{key}" if group else key


def variable_name(group: str, key: str) -> str:
    """The environment variable that sets a key: ``FLATRUN_API__PORT``."""
    return _PREFIX + dotted(group, key).replace(".", "__").replace("-", "_").upper()


def _from_text(field: Field[Any], text: str) -> Any:
    """An environment variable's text as the type its field takes."""
    if isinstance(field, List) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(field, Boolean | Integer | Float | List):
        return parse("value: " + " ".join(text.split()))["value"]
    return text


def _hint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def describe(schema: Schema, group: str, error: ValidationError, raw: Mapping[str, Any]) -> list[str]:
    """The problems of one group as lines that hold no secret."""
    lines: list[str] = []
    for key, messages in cast(dict[str, Any], error.messages).items():
        field = schema.fields.get(key)
        if field is None and key in raw:
            lines.append(f"{dotted(group, key)}: is not a setting{_hint(key, schema.fields)}")
        else:
            found = flatten_errors({key: messages}, group)
            hide = field is not None and is_secret(field)
            lines += [_without_value(line) if hide else line for line in found]
    return lines


def _without_value(line: str) -> str:
    """The problem of a secret: a validator may have put the value into its message."""
    place, _, message = line.partition(": ")
    return line if message in _SAFE_MESSAGES else f"{place}: is not acceptable"
