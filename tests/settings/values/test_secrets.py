"""No secret shows."""

import json
from typing import Any

import pytest

from flatrun_core.fields import TOO_SHORT
from flatrun_core.settings import AuthSettings, PanelSettings

SECRET = "hunter22hunter22"


@pytest.mark.parametrize(
    "text",
    [
        f"infrastructure: {{database: {{root_password: {SECRET}}}}}",
        f"auth: {{secret_key: [{SECRET}]}}",
        f"auth: {{api_keys: {SECRET}}}",
        f"auth: {{api_keys: [{{{SECRET}: 1}}]}}",
        f"auth: {SECRET}",
        f"database: {{url: {SECRET}}}",
        f"auth: {{secret_key: !!binary {SECRET}}}",
    ],
)
def test_no_secret_shows_in_a_problem(text: str, problems: Any) -> None:
    for found in problems(text):
        assert SECRET not in found


def test_no_secret_shows_in_what_is_printed_or_published(load: Any, source: Any) -> None:
    text = f"database: {SECRET}\nauth: {{secret_key: {SECRET}, api_keys: [{SECRET}]}}\n"
    text += "infrastructure: {database: {root_password: hunter22, root_user: hunter22}}\n"
    snapshot = load(text)
    shown = [
        json.dumps(snapshot.published()),
        repr(source(text)),
        repr(source(environ={"FLATRUN_DATABASE": SECRET})),
    ]
    shown += [repr(snapshot.of(kind)) for kind in (PanelSettings, AuthSettings)]
    for one in shown:
        assert "hunter22" not in one


@pytest.mark.parametrize(
    "key", ["x", "fifteen letters", "' '", "'    hunter22    '", "'\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t'"]
)
def test_a_key_that_could_be_found_by_trying_is_refused_with_the_reason(key: str, problems: Any) -> None:
    text = f"auth: {{api_keys: [{SECRET}, {key}], secret_key: {key}}}"
    assert problems(text) == [f"auth.{name}: {TOO_SHORT}" for name in ("api_keys.1", "secret_key")]


def test_empty_keys_are_none(load: Any) -> None:
    assert load("auth: {api_keys: [''], secret_key: ''}").of(AuthSettings).secret_key == ""
