"""The whole document against the application: no failure of ours, no answer it does not tell of."""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flatrun_core.plugins import discover
from flatrun_core.testing.client import ADMIN_KEY

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
COMPOSE = "services:\n  web:\n    image: flatrun-test/web\n"
EXISTING = ("alpha", "beta", "gamma")
# Each example is one request; positive and negative data each get as many for every operation.
EXAMPLES = 40
# What only the caller's own schema knows, so an answer's fields cannot be held to a list.
OPEN = {"Error", "ComposeRefusal"}

bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def app(flatrun_app: Callable[..., Flask]) -> Flask:
    return flatrun_app(plugins=sorted(record.slug for record in discover()))


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every field of an answer held to it; clients are told to expect more."""
    asked = {
        content["schema"].get("$ref", "").rsplit("/", 1)[-1]
        for item in document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
        for content in operation.get("requestBody", {}).get("content", {}).values()
    }
    for name, schema in document["components"]["schemas"].items():
        if name not in OPEN | asked and "properties" in schema:
            schema["additionalProperties"] = False
    return document


def existing_name(operation: Any, data: st.DataObject) -> dict[str, str]:
    """Half of the time a name that is there, so that a request gets past the search for it."""
    if "name" in operation.path and data.draw(st.booleans()):
        return {"name": data.draw(st.sampled_from(EXISTING))}
    return {}


def exercise(app: Flask, operation: Any, mode: schemathesis.GenerationMode) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}

    @bounded
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        case.path_parameters = {**(case.path_parameters or {}), **existing_name(operation, data)}
        if case.query and str(case.query.get("follow")).lower() in ("true", "1"):
            # A stream ends with its client only, and there is none in this process.
            case.query = {**case.query, "follow": "false"}
        case.call_and_validate(headers=headers, checks=CHECKS)

    run()


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_every_operation_answers_as_documented(app: Flask, flatrun_client: Any, mode: str) -> None:
    client = flatrun_client(app)
    document = strict(client.get("/api/openapi.json").get_json())
    if "deployments" in {tag["name"] for tag in document["tags"]}:
        for name in EXISTING:
            answer = client.post("/api/deployments", json={"name": name, "compose": COMPOSE})
            assert answer.status_code == 201, answer.get_json()
    schema = schemathesis.openapi.from_dict(document)
    schema.app = app
    failed = []
    # Removals last, so that the others find something.
    found = [result.ok() for result in schema.get_all_operations()]
    for operation in sorted(found, key=lambda one: (one.method == "delete", one.path, one.method)):
        try:
            exercise(app, operation, schemathesis.GenerationMode[mode])
        except Unsatisfiable:
            continue  # it takes nothing that could be wrong
        except Exception as exc:  # noqa: BLE001 - whichever fails, the others are tried too
            failed.append(f"{operation.method.upper()} {operation.path}\n{exc}")
    assert not failed, "\n\n".join(failed)
