"""The whole document as each role: no failure of ours, and no answer that it does not tell of."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from argon2 import PasswordHasher
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

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
COMPOSE = "services:\n  web:\n    image: flatrun-test/web\n"
EXISTING = ("alpha", "beta", "gamma")
PASSWORD = "correct horse battery"
# Each example is one request; positive and negative data each get as many for every operation. Whoever
# is refused nearly everywhere needs fewer.
EXAMPLES = {"nobody": 4, "viewer": 8, "operator": 12, "admin": 40, "scoped key": 8}
ROLES = ("viewer", "operator", "admin")
# What each must meet, or nothing was shown of it.
MEETS = {"nobody": {400, 401}, "admin": {200, 201, 400, 404}}
# What only the caller's own schema knows, so an answer's fields cannot be held to a list.
OPEN = {"Error", "ComposeRefusal"}

bounded = functools.partial(
    settings,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def app(flatrun_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Flask:
    cheap = functools.partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("flatrun_users.passwords.PasswordHasher", cheap)
    return flatrun_app(plugins=sorted(record.slug for record in discover()))


class House:
    """The panel with an account of each role; what a request does to its own maker is made good."""

    def __init__(self, client: Any) -> None:
        self.client = client
        for name in EXISTING:
            self.done("POST", "/api/deployments", {"name": name, "compose": COMPOSE})
        self.accounts = {role: self.account(role) for role in ROLES}
        for role in ("viewer", "operator"):
            for name, level in (("alpha", "admin"), ("beta", "read")):
                grant = {"deployment_name": name, "access_level": level}
                self.done("POST", f"/api/users/{self.accounts[role]}/deployments", grant)
        bystander = self.account("viewer", "bystander")
        key = self.done("POST", "/api/apikeys", {"name": "a key", "user_id": bystander})["id"]
        event = {"event": ["1", "2", "3"]}
        self.known = {"name": EXISTING, "user_id": [str(bystander)], "key_id": [str(key)], **event}

    def done(self, method: str, path: str, body: Any) -> Any:
        answer = self.client.open(method, path, json=body)
        assert answer.status_code < 300, (method, path, answer.get_json())
        return answer.get_json()

    def account(self, role: str, name: str = "") -> int:
        body = {"username": name or f"the-{role}", "password": PASSWORD, "role": role}
        return int(self.done("POST", "/api/users", body)["user"]["id"])

    def credential(self, role: str) -> dict[str, str]:
        """A fresh one, as the last may have been ended; the account is as it was."""
        if role == "nobody":
            return {}
        owner = "admin" if role == "scoped key" else role
        account = {"username": f"the-{owner}", "role": owner, "password": PASSWORD}
        path = f"/api/users/{self.accounts[owner]}"
        self.done("PUT", path, {**account, "permissions": [], "is_active": True, "totp": False})
        if role == "scoped key":
            if self.client.get("/api/deployments/alpha").status_code == 404:
                self.done("POST", "/api/deployments", {"name": "alpha", "compose": COMPOSE})
            body = {"name": "scoped", "deployments": ["alpha"], "user_id": self.accounts[owner]}
            return {"Authorization": f"Bearer {self.done('POST', '/api/apikeys', body)['key']}"}
        login = self.done("POST", "/api/auth/login", {k: account[k] for k in ("username", "password")})
        return {"Authorization": f"Bearer {login['token']}"}


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


def existing(operation: Any, known: dict[str, Any], data: st.DataObject) -> Iterator[tuple[str, str]]:
    """Half of the time objects that are there, so that a request gets past the search for them."""
    for name, values in known.items():
        if f"{{{name}}}" in operation.path and data.draw(st.booleans()):
            yield name, data.draw(st.sampled_from(values))


class Exercise:
    """One role's requests, and the statuses that they met."""

    def __init__(self, house: House, role: str, mode: str) -> None:
        self.house, self.role = house, role
        self.mode = schemathesis.GenerationMode[mode]
        self.met: Counter[int] = Counter()

    def of(self, operation: Any) -> None:
        """All requests of one operation."""
        headers = self.house.credential(self.role)

        @bounded(max_examples=EXAMPLES[self.role])
        @given(data=st.data())
        def run(data: st.DataObject) -> None:
            case = data.draw(operation.as_strategy(generation_mode=self.mode))
            there = dict(existing(operation, self.house.known, data))
            case.path_parameters = {**(case.path_parameters or {}), **there}
            if case.query and str(case.query.get("follow")).lower() in ("true", "1"):
                # A stream ends with its client only, and there is none in this process.
                case.query = {**case.query, "follow": "false"}
            self.met[case.call_and_validate(headers=headers, checks=CHECKS).status_code] += 1

        run()


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
@pytest.mark.parametrize("role", ["admin", "operator", "scoped key", "viewer", "nobody"])
def test_every_operation_answers_as_documented(app: Flask, flatrun_client: Any, role: str, mode: str) -> None:
    client = flatrun_client(app)
    schema = schemathesis.openapi.from_dict(strict(client.get("/api/openapi.json").get_json()))
    schema.app = app
    exercise = Exercise(House(client), role, mode)
    failed = []
    # Removals last, so that the others find something.
    found = [result.ok() for result in schema.get_all_operations()]
    for operation in sorted(found, key=lambda one: (one.method == "delete", one.path, one.method)):
        try:
            exercise.of(operation)
        except Unsatisfiable:
            continue  # it takes nothing that could be wrong
        except Exception as exc:  # noqa: BLE001 - whichever fails, the others are tried too
            failed.append(f"{operation.method.upper()} {operation.path}\n{exc}")
    assert not failed, "\n\n".join(failed)
    assert exercise.met.keys() >= MEETS.get(role, {200, 403, 404})
