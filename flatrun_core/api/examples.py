"""Examples for the API document, put together from what each field's own metadata gives."""

from collections.abc import Mapping
from typing import Any

Schemas = Mapping[str, Mapping[str, Any]]

_PREFIX = "#/components/schemas/"
_OF_FORMAT = {
    "date-time": "2024-01-01T00:00:00Z",
    "email": "ada@example.com",
    "duration": "30s",
    "uuid": "6f1c0f0e-8f7a-4d0c-9d55-0c2f5f0b8a11",
}
_DEEPEST = 8


def resolved(schema: Mapping[str, Any], schemas: Schemas) -> dict[str, Any]:
    """A schema with its reference followed and its ``allOf`` parts joined; nested ones stay as they are."""
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
    parts = list(schema.get("allOf", ()))
    if "$ref" in schema:
        parts.append(schemas.get(schema["$ref"].removeprefix(_PREFIX), {}))
    for part in parts:
        merged = {**resolved(part, schemas), **merged}
    return merged


def example_of(schema: Mapping[str, Any], schemas: Schemas, *, sparse: bool = False, depth: int = 0) -> Any:
    """A value of the schema: its own example, default or first choice, or one of its type.

    With ``sparse``, for requests, an object has only what is required or has an example of its own.
    """
    shape = resolved(schema, schemas)
    for given in (shape.get("example"), shape.get("default"), *shape.get("enum", ())[:1]):
        if given is not None:
            return given
    if depth > _DEEPEST:
        return None
    kind = shape.get("type")
    if kind == "object" or "properties" in shape:
        required = set(shape.get("required", ()))
        return {
            name: example_of(inner, schemas, sparse=sparse, depth=depth + 1)
            for name, inner in shape.get("properties", {}).items()
            if not sparse or name in required or "example" in resolved(inner, schemas)
        }
    if kind == "array":
        return [example_of(shape.get("items", {}), schemas, sparse=sparse, depth=depth + 1)]
    return _scalar(shape)


def _scalar(shape: Mapping[str, Any]) -> Any:
    if shape.get("nullable"):
        return None
    kind = shape.get("type")
    if kind == "string":
        return _OF_FORMAT.get(shape.get("format", ""), "text")
    if kind in ("integer", "number"):
        return shape.get("minimum", 0)
    return False if kind == "boolean" else None
