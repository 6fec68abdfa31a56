"""Fields take their own JSON type only, numbers within limits, and query words."""

from typing import Any

import pytest

from flatrun_core import fields
from flatrun_core.fields import ValidationError

JSON_VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "one": 1,
    "float": 1.0,
    "text": "1",
    "empty": "",
    "list": [1],
    "object": {"a": 1},
}


@pytest.mark.parametrize(
    ("field", "taken"),
    [
        (fields.Boolean(), {"true"}),
        (fields.Integer(), {"zero", "one"}),
        (fields.Float(), {"zero", "one", "float"}),
        (fields.String(), {"text", "empty"}),
        (fields.Secret(), {"text", "empty"}),
        (fields.Port(), {"one"}),
        (fields.Duration(), set()),
        (fields.Email(blank=True), {"empty"}),
        (fields.ContainerName(blank=True), {"text", "empty"}),
        (fields.ContainerName(), {"text"}),
        (fields.HostName(blank=True), {"empty"}),
        (fields.AddressOrNetwork(), set()),
        (fields.AbsolutePath(), set()),
        (fields.Time(), set()),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, fields.Field) else "",
)
def test_takes_only_its_own_json_type(field: fields.Field[Any], taken: set[str], refuses: Any) -> None:
    assert {name for name, value in JSON_VALUES.items() if not refuses(field, value)} == taken


@pytest.mark.parametrize("value", ["a\0b", "\ud800", b"bytes", float("nan")])
def test_text_that_no_store_takes_is_refused(value: Any, refuses: Any) -> None:
    assert refuses(fields.String(), value)
    assert refuses(fields.ContainerName(), value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_number_is_finite(value: float, refuses: Any) -> None:
    assert refuses(fields.Float(), value)


@pytest.mark.parametrize("port", [0, -1, 65536, 10**30])
def test_ports_have_limits(port: int, refuses: Any) -> None:
    assert refuses(fields.Port(), port)


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "True"])
def test_a_query_boolean_is_true(text: str) -> None:
    assert fields.QueryBoolean().deserialize(text) is True


@pytest.mark.parametrize("text", ["", "yes", "2", " true", "on", "t", "\u0661"])
def test_a_query_boolean_knows_four_words(text: str, refuses: Any) -> None:
    assert fields.QueryBoolean().deserialize("False") is False
    assert refuses(fields.QueryBoolean(), text)


def test_a_query_integer_is_kept_within_its_range(refuses: Any) -> None:
    tail = fields.QueryInteger(min=1, max=10_000, clamp_max=True)
    assert tail.deserialize("100") == 100
    assert tail.deserialize("999999") == 10_000
    for text in ("0", "-1", "x", "", "1.0", "\uff11", "1e3", " 1"):
        assert refuses(tail, text), text
    with pytest.raises(ValidationError, match="from 1 to 50"):
        fields.QueryInteger(min=1, max=50).deserialize("51")


@pytest.mark.parametrize("text", ["10001", "9" * 19, "9" * 5000, "+" + "9" * 20, "0" * 30 + "10001"])
def test_a_clamped_query_number_is_cut_however_long_it_is(text: str) -> None:
    assert fields.QueryInteger(min=1, max=10_000, clamp_max=True).deserialize(text) == 10_000
