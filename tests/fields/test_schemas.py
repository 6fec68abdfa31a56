"""Schemas: their mistakes, their description for OpenAPI, and their errors."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from flatrun_core import fields
from flatrun_core.fields import ValidationError, flatten_errors


def test_requests_may_carry_fields_nobody_knows() -> None:
    class Body(fields.InputSchema):
        name = fields.String(required=True)

    assert Body().load({"name": "a", "extra": {"x": 1}}) == {"name": "a"}


@dataclass
class Values:
    name: str
    password: str = ""


class WithoutDefault(fields.SettingsSchema):
    dataclass = Values
    name = fields.String()


class WithoutPlace(fields.SettingsSchema):
    dataclass = Values
    nickname = fields.String(load_default="")


class Printing(fields.SettingsSchema):
    dataclass = Values
    password = fields.Secret()


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (WithoutDefault, "WithoutDefault.name has no default"),
        (WithoutPlace, "WithoutPlace.nickname has no place in Values"),
        (Printing, "Printing.password is a secret"),
    ],
)
def test_a_mistake_in_a_settings_schema_is_told_when_it_is_first_used(
    schema: type[fields.Schema], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        schema()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("field", "described"),
    [
        (
            fields.Duration(load_default=timedelta(minutes=90)),
            {"type": "string", "format": "duration", "default": "1h30m"},
        ),
        (fields.Time(), {"type": "string", "format": "date-time"}),
        (fields.Email(), {"type": "string", "format": "email"}),
        (fields.Email(blank=True, load_default=""), {"type": "string", "default": ""}),
        (fields.HostName(metadata={"description": "x"}), {"type": "string", "description": "x"}),
        (fields.Port(), {"type": "integer", "minimum": 1, "maximum": 65535}),
        (fields.Secret(), {"type": "string", "writeOnly": True}),
        (fields.QueryInteger(1, 9), {"type": "integer", "minimum": 1, "maximum": 9}),
        (fields.QueryInteger(1, 9, clamp_max=True), {"type": "integer", "minimum": 1}),
        (fields.QueryBoolean(), {"type": "boolean"}),
    ],
)
def test_fields_describe_themselves_to_openapi(field: fields.Field[Any], described: dict[str, Any]) -> None:
    plugin = MarshmallowPlugin()
    APISpec("", "", "3.1.0", plugins=[plugin])
    converter: Any = plugin.converter
    assert converter.field2property(field) == described


def test_errors_become_lines_with_dotted_names() -> None:
    class Inner(fields.InputSchema):
        port = fields.Port()

    class Body(fields.InputSchema):
        items = fields.List(fields.Nested(Inner))

    with pytest.raises(ValidationError) as caught:
        Body().load({"items": [{"port": 1}, {"port": "x"}]})
    assert flatten_errors(caught.value.messages) == ["items.1.port: Not a valid integer."]
    assert flatten_errors({"_schema": ["Does not fit."]}, "api") == ["api: Does not fit."]
