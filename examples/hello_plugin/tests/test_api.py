"""The routes, through the client."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flatrun_hello import plugin


@pytest.fixture
def app(flatrun_app: Callable[..., Flask]) -> Flask:
    return flatrun_app(plugins=[plugin], settings={"hello.greeting": "Ahoy"})


def test_greets_with_the_configured_word_and_remembers(app: Flask, flatrun_client: Any) -> None:
    client = flatrun_client(app)
    answer = client.post("/api/hello", json={"name": "Ada"})
    assert answer.status_code == 201
    assert answer.get_json()["text"] == "Ahoy, Ada!"
    assert [g["name"] for g in client.get("/api/hello").get_json()["greetings"]] == ["Ada"]


def test_reading_does_not_allow_writing(app: Flask, flatrun_login: Any) -> None:
    reader = flatrun_login(app, ["hello:read"])
    assert reader.get("/api/hello").status_code == 200
    assert reader.post("/api/hello", json={"name": "Ada"}).status_code == 403


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": 1}])
def test_a_bad_name_is_refused_with_a_sentence(app: Flask, flatrun_client: Any, body: dict[str, Any]) -> None:
    answer = flatrun_client(app).post("/api/hello", json=body)
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "VALIDATION_ERROR"
