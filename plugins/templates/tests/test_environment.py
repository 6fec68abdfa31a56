"""Variables that a template wants."""

import base64
import re

import pytest

from flatrun_core import Invalid
from flatrun_templates.environment import Variable, complete, generator

FIXED = {"NAME": "blog"}


@pytest.mark.parametrize(
    ("recipe", "pattern"),
    [
        ("password", r"[A-Za-z0-9]{32}"),
        ("password:64", r"[A-Za-z0-9]{64}"),
        ("hex", r"[0-9a-f]{32}"),
        ("hex:33", r"[0-9a-f]{33}"),
        ("base64", r"[A-Za-z0-9+/]{43}="),
        ("laravel", r"base64:[A-Za-z0-9+/]{43}="),
    ],
)
def test_each_recipe_makes_its_kind_and_never_the_same_twice(recipe: str, pattern: str) -> None:
    make = generator(recipe)
    assert make is not None
    values = {make() for _ in range(20)}
    assert len(values) == 20
    assert all(re.fullmatch(pattern, value) for value in values)


def test_a_laravel_key_is_32_bytes() -> None:
    make = generator("laravel")
    assert make is not None
    assert len(base64.b64decode(make().removeprefix("base64:"))) == 32


@pytest.mark.parametrize(
    "recipe", ["", "password:1", "password:999", "hex:", "hex:-1", "uuid", "laravel:x", "a\n"]
)
def test_what_is_no_recipe_is_none(recipe: str) -> None:
    assert generator(recipe) is None


def test_what_is_given_is_never_made_anew() -> None:
    variables = [Variable("A", generate="password"), Variable("B", default="b"), Variable("C", default="c")]
    assert complete(variables, {"A": "mine", "B": ""}, FIXED, "t") == {"C": "c"}


def test_a_default_may_use_the_deployments_own_values_or_stays_away() -> None:
    variables = [Variable("A", default="at ${NAME}"), Variable("B", default="http://${DOMAIN}")]
    assert complete(variables, {}, FIXED, "t") == {"A": "at blog"}
    assert complete(variables, {}, {**FIXED, "DOMAIN": "a.example"}, "t")["B"] == "http://a.example"


@pytest.mark.parametrize("given", [{}, {"KEY": ""}])
def test_a_required_variable_without_a_value_is_named(given: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="KEY"):
        complete([Variable("KEY", required=True)], given, FIXED, "t")
    assert complete([Variable("KEY", required=True)], {"KEY": "x"}, FIXED, "t") == {}
