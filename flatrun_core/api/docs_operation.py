"""One operation of the API document, with its references followed."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatrun_core.api.examples import Schemas, example_of

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Operation:
    """One operation with what its path shares; ``document`` resolves its references."""

    path: str
    method: str
    raw: Mapping[str, Any]
    shared: Sequence[Mapping[str, Any]]
    document: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its anchor."""
        return str(self.raw["operationId"])

    @property
    def tag(self) -> str:
        """The group it stands in."""
        return str(next(iter(self.raw.get("tags", ())), "other"))

    @property
    def public(self) -> bool:
        """Whether it needs no credential."""
        return self.raw.get("security") == []

    @property
    def schemas(self) -> Schemas:
        """What references of schemas name."""
        schemas: Schemas = self.document.get("components", {}).get("schemas", {})
        return schemas

    @property
    def parameters(self) -> list[Mapping[str, Any]]:
        """Those of the path, then its own."""
        return [*self.shared, *self.raw.get("parameters", ())]

    @property
    def body(self) -> Mapping[str, Any] | None:
        """The JSON body it takes."""
        found: Mapping[str, Any] | None = (
            self.raw.get("requestBody", {}).get("content", {}).get("application/json")
        )
        return found

    def example(self, media: Mapping[str, Any], *, sparse: bool) -> Any:
        """The example that the document gives, or one made from the schema."""
        if "example" in media:
            return media["example"]
        return example_of(media.get("schema", {}), self.schemas, sparse=sparse)

    def response(self, status: str) -> Mapping[str, Any]:
        """An answer with its reference followed."""
        found: Mapping[str, Any] = self.raw["responses"][status]
        if "$ref" in found:
            name = found["$ref"].rsplit("/", 1)[-1]
            return dict(self.document["components"]["responses"].get(name, {}))
        return found


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Every operation of the document, in its order."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield Operation(path, method, item[method], item.get("parameters", ()), document)


def curl_line(operation: Operation) -> str:
    """A command that makes the request; ``$FLATRUN_URL`` and ``$FLATRUN_API_KEY`` are the reader's."""
    path = re.sub(r"\{(\w+)\}", lambda found: _path_example(found[1], operation), operation.path)
    words = ["curl"]
    if operation.method != "get":
        words.append(f"-X {operation.method.upper()}")
    if not operation.public:
        words.append('-H "Authorization: Bearer $FLATRUN_API_KEY"')
    if operation.body is not None:
        body = json.dumps(operation.example(operation.body, sparse=True), ensure_ascii=False)
        words.append(f"-H 'Content-Type: application/json' -d {shlex.quote(body)}")
    return " ".join([*words, f'"$FLATRUN_URL{path}"'])


def _path_example(name: str, operation: Operation) -> str:
    for parameter in operation.parameters:
        if parameter["name"] == name:
            given = parameter.get("example") or parameter.get("schema", {}).get("example")
            return str(given or name.upper())
    return name.upper()
