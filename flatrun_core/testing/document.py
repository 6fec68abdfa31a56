"""The API document as tests use it: its operations, requests made from its examples, its texts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from flatrun_core.api.examples import example_of, resolved

Place = tuple[str | int, ...]

METHODS: Final = ("get", "post", "put", "patch", "delete")
_NAME: Final = re.compile(r"\{([^}]+)\}")
_DEEPEST: Final = 8
_FREE: Final = "anything"  # a key for objects that take any


@dataclass(frozen=True)
class Operation:
    """One method of one path, with what it declares."""

    method: str
    path: str
    spec: Mapping[str, Any]
    schemas: Mapping[str, Any]

    def __str__(self) -> str:
        """As people write it: ``GET /api/deployments/{name}``."""
        return f"{self.method} {self.path}"

    @property
    def public(self) -> bool:
        """Whether anybody may call it."""
        return not self.spec["security"]

    @property
    def permissions(self) -> tuple[str, ...]:
        """The permissions it asks for; one is enough when ``any_of``."""
        return tuple(self.spec.get("x-permissions", ()))

    @property
    def any_of(self) -> bool:
        """Whether one of the permissions is enough."""
        return bool(self.spec.get("x-permissions-any", False))

    @property
    def level(self) -> str:
        """read, write, admin, or empty where no deployment is concerned."""
        return str(self.spec.get("x-level", ""))

    @property
    def path_names(self) -> tuple[str, ...]:
        """The parameters in the path."""
        return tuple(_NAME.findall(self.path))

    @property
    def query(self) -> Mapping[str, Mapping[str, Any]]:
        """The schemas of the query's parameters."""
        given = self.spec.get("parameters", ())
        return {one["name"]: one.get("schema", {}) for one in given if one["in"] == "query"}

    @property
    def takes_body(self) -> bool:
        """Whether it takes a body of JSON."""
        return "application/json" in self.spec.get("requestBody", {}).get("content", {})

    @property
    def body_schema(self) -> Mapping[str, Any]:
        """The schema of its body; empty without one."""
        if not self.takes_body:
            return {}
        schema: Mapping[str, Any] = self.spec["requestBody"]["content"]["application/json"]["schema"]
        return schema

    @property
    def body_example(self) -> Any:
        """A body that is right, as the document shows it."""
        if not self.takes_body:
            return None
        media = self.spec["requestBody"]["content"]["application/json"]
        named = [one["value"] for one in media.get("examples", {}).values()]
        return media["example"] if "example" in media else named[0]

    @property
    def is_download(self) -> bool:
        """Whether it answers something else than JSON alone."""
        answers = (answer for status, answer in self.spec["responses"].items() if status.startswith("2"))
        return any(set(answer.get("content", ())) - {"application/json"} for answer in answers)

    def target(self, values: Mapping[str, str], query: Mapping[str, str] | None = None) -> str:
        """The path with its parameters filled, encoded, and the query."""
        path = _NAME.sub(lambda name: quote(values[name[1]], safe="", errors="surrogatepass"), self.path)
        return f"{path}?{urlencode(query, errors='surrogatepass')}" if query else path

    def texts(self) -> Iterator[Place]:
        """The places in the body that take text, as keys and indexes from the outside in."""
        return _texts(self.body_schema, self.schemas, 0)

    def body_with(self, place: Place, text: str, example: Any = None) -> Any:
        """The body of the example, or the one given, with a text at a place."""
        given = self.body_example if example is None else example
        return _placed(given, place, text, self.body_schema, self.schemas)


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Every operation of a document, in its order."""
    schemas = document["components"]["schemas"]
    return [
        Operation(method.upper(), path, item[method], schemas)
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    ]


def _texts(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Iterator[Place]:
    shape = resolved(schema, schemas)
    kind = shape.get("type")
    inner: list[tuple[str | int, Mapping[str, Any]]] = []
    if depth > _DEEPEST or not schema:
        return
    if kind == "string":
        yield ()
    elif kind == "array":
        inner = [(0, shape.get("items") or {"type": "string"})]
    elif shape.get("properties"):
        inner = list(shape["properties"].items())
    elif kind == "object":
        more = shape.get("additionalProperties")
        inner = [(_FREE, more if isinstance(more, Mapping) and more else {"type": "string"})]
    for key, part in inner:
        for rest in _texts(part, schemas, depth + 1):
            yield (key, *rest)


def _placed(
    value: Any, place: Place, text: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]
) -> Any:
    if not place:
        return text
    shape = resolved(schema, schemas)
    key, rest = place[0], place[1:]
    if isinstance(key, int):
        part = shape.get("items", {})
        items = list(value or [example_of(part, schemas)])
        return [_placed(items[0], rest, text, part, schemas), *items[1:]]
    part = shape.get("properties", {}).get(key, {})
    held = value if isinstance(value, Mapping) else {}
    known = held[key] if key in held else example_of(part, schemas)
    return {**held, key: _placed(known, rest, text, part, schemas)}
