"""Settings as documentation: a Markdown table for people, a JSON Schema for programs."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from flatrun_core.fields import Field, List
from flatrun_core.ports.settings import SettingsGroup
from flatrun_core.settings_source import dotted, variable_name


def settings_schema(groups: Sequence[SettingsGroup], names: Collection[str]) -> dict[str, Any]:
    """The JSON Schema of the file's part that the groups of these names fill."""
    plugin = MarshmallowPlugin()
    APISpec("", "", "3.1.0", plugins=[plugin])
    converter: Any = plugin.converter
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    for group, key, field in _all_fields([group for group in groups if group.name in names]):
        inner = schema
        for part in group.name.split("."):
            inner = inner["properties"].setdefault(part, {"type": "object", "properties": {}})
        inner["properties"][key] = converter.field2property(field)
    return schema


def settings_table(groups: Sequence[SettingsGroup]) -> str:
    """All keys as a Markdown table: key, type, default, environment variable, description."""
    rows = ["| key | type | default | environment | description |", "|---|---|---|---|---|"]
    for group, key, field in _all_fields(groups):
        text = str(field.metadata.get("description", "")).replace("|", "\\|")
        names = f"`{dotted(group.name, key)}`", f"`{variable_name(group.name, key)}`"
        rows.append(f"| {names[0]} | {_type_name(field)} | {_default_text(field)} | {names[1]} | {text} |")
    return "\n".join(rows) + "\n"


def _all_fields(groups: Sequence[SettingsGroup]) -> Iterator[tuple[SettingsGroup, str, Field[Any]]]:
    for group in groups:
        for key, field in group.schema().fields.items():
            yield group, key, field


def _type_name(field: Field[Any]) -> str:
    if isinstance(field, List):
        return f"list of {_type_name(field.inner)}"
    names = {"String": "text", "Integer": "number", "Boolean": "true or false", "AbsolutePath": "path"}
    return names.get(type(field).__name__) or _spaced(type(field).__name__)


def _spaced(name: str) -> str:
    return "".join(f" {char.lower()}" if char.isupper() else char for char in name).strip()


def _default_text(field: Field[Any]) -> str:
    default = field.load_default() if callable(field.load_default) else field.load_default
    shown = field._serialize(default, None, None)
    if shown in ("", None, []):
        return ""
    return f"`{str(shown).lower() if isinstance(shown, bool) else shown}`"
