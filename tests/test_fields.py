from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from hypothesis import given, settings
from hypothesis import strategies as st

from flatrun_core import fields
from flatrun_core.fields import (
    ValidationError,
    flatten_errors,
    format_duration,
    format_time,
    host_name,
    parse_duration,
    parse_time,
)

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


def refuses(field: fields.Field[Any], value: Any) -> bool:
    try:
        field.deserialize(value)
    except ValidationError:
        return True
    return False


# --- durations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("2m", 120),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("300ms", 0.3),
        ("7d", 604800),
        ("2w", 1209600),
        ("1w1d1h1m1s1ms", 694861.001),
        ("5us", 0.000005),
        ("5µs", 0.000005),
        ("5μs", 0.000005),
        ("1500ns", 0.000001),
        ("1m1m", 120),
    ],
)
def test_reads_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "5",
            "s",
            ".s",
            "-5s",
            "+5s",
            "5 s",
            " 5s",
            "5s ",
            "5s\n",
            "5x",
            "1h30",
            "\uff15s",
            "1e3s",
            "1_0s",
            "\u0663s",
        ),
        *("9" * 65 + "s", "300y", "300000000h", "1h" * 40),
    ],
)
def test_refuses_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=30), "30s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(days=1), "24h"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(hours=1, seconds=5), "1h5s"),
        (timedelta(milliseconds=500), "500ms"),
        (timedelta(milliseconds=1, microseconds=500), "1.5ms"),
        (timedelta(microseconds=7), "7µs"),
        (timedelta(seconds=1, milliseconds=50), "1.05s"),
        (timedelta(seconds=-90), "-1m30s"),
    ],
)
def test_writes_the_shortest_duration(value: timedelta, text: str) -> None:
    assert format_duration(value) == text


@settings(deadline=None)
@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=106_000)))
def test_a_written_duration_reads_as_the_same(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 999), st.sampled_from(["ns", "us", "µs", "ms", "s", "m", "h", "d", "w"])),
        min_size=1,
        max_size=8,
    )
)
def test_parts_of_a_duration_add_up_and_the_written_form_is_stable(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{amount}{unit}" for amount, unit in parts)
    value = parse_duration(text)
    assert value <= sum((parse_duration(f"{a}{u}") for a, u in parts), timedelta(microseconds=len(parts)))
    assert format_duration(parse_duration(format_duration(value))) == format_duration(value)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        value = parse_duration(text)
    except ValueError:
        return
    assert timedelta(0) <= value <= timedelta(days=106_752)


def test_a_duration_field_wants_more_than_zero_unless_told() -> None:
    assert fields.Duration().deserialize("5m") == timedelta(minutes=5)
    assert refuses(fields.Duration(), "0s")
    assert refuses(fields.Duration(), "1ns")
    assert fields.Duration(zero=True).deserialize("0") == timedelta(0)
    assert refuses(fields.Duration(), 30)


# --- times -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-02T03:04:05Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02t03:04:05z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02 03:04:05+01:00", datetime(2024, 1, 2, 2, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05.25Z", datetime(2024, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("2024-01-02T03:04:05.123456789Z", datetime(2024, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
    ],
)
def test_reads_a_time(text: str, value: datetime) -> None:
    assert parse_time(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-01-02",
        "2024-01-02T03:04:05",
        "2024-13-02T03:04:05Z",
        "2024-01-02T24:00:01Z",
        "now",
        "2024-W01-1",
        "2024-01-02T03:04:60Z",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "2024-01-02T03:04:05Z\n",
    ],
)
def test_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


def test_writes_a_time_in_utc() -> None:
    assert (
        format_time(datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))))
        == "2024-01-02T01:04:05Z"
    )
    assert format_time(datetime(2024, 1, 2, 3, 4, 5, 1)) == "2024-01-02T03:04:05.000001Z"  # noqa: DTZ001


def test_an_absent_time_is_null() -> None:
    schema = fields.Schema.from_dict({"at": fields.Time(allow_none=True)})()
    assert schema.dump({"at": None}) == {"at": None}
    assert schema.load({"at": None}) == {"at": None}


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)))
def test_a_written_time_reads_as_the_same(value: datetime) -> None:
    assert parse_time(format_time(value)) == value


# --- JSON types --------------------------------------------------------------------------------


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
def test_takes_only_its_own_json_type(field: fields.Field[Any], taken: set[str]) -> None:
    assert {name for name, value in JSON_VALUES.items() if not refuses(field, value)} == taken


@pytest.mark.parametrize("value", ["a\0b", "\ud800", b"bytes", float("nan")])
def test_text_that_no_store_takes_is_refused(value: Any) -> None:
    assert refuses(fields.String(), value)
    assert refuses(fields.ContainerName(), value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_number_is_finite(value: float) -> None:
    assert refuses(fields.Float(), value)


@pytest.mark.parametrize("port", [0, -1, 65536, 10**30])
def test_ports_have_limits(port: int) -> None:
    assert refuses(fields.Port(), port)


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "True"])
def test_a_query_boolean_is_true(text: str) -> None:
    assert fields.QueryBoolean().deserialize(text) is True


@pytest.mark.parametrize("text", ["", "yes", "2", " true", "on", "t", "\u0661"])
def test_a_query_boolean_knows_four_words(text: str) -> None:
    assert fields.QueryBoolean().deserialize("False") is False
    assert refuses(fields.QueryBoolean(), text)


def test_a_query_integer_is_kept_within_its_range() -> None:
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


# --- names and addresses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Blog.Example.COM", "blog.example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("a-b.c1.de", "a-b.c1.de"),
        ("1.example.com", "1.example.com"),
        (("a" * 63 + ".") * 3 + "a" * 61, ("a" * 63 + ".") * 3 + "a" * 61),
    ],
)
def test_a_domain_is_stored_in_one_form(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "localhost",
        "a..b",
        ".a.b",
        "a.b..",
        "-a.example",
        "a-.example",
        "*.example.com",
        "a_b.example",
        "a.example:80",
        "http://a.example",
        "a.example/x",
        "127.0.0.1",
        "::1",
        "[::1]",
        "a b.example",
        "a.b\n",
        "a" * 64 + ".example",
        ("a" * 63 + ".") * 3 + "a" * 62,
        "xn--a.example",
        "xn--.example",
        "ü" * 5000,
        "a.é\u200b/..",
        "a。。b",
        "a;b.example",
        'a".example',
        "$a.example",
        "a.{x}",
    ],
)
def test_refuses_what_is_no_domain(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        host_name(text)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_any_text_is_a_safe_domain_or_a_value_error(text: str) -> None:
    try:
        name = host_name(text)
    except ValueError:
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert host_name(name) == name


@pytest.mark.parametrize("text", ["a@example.com", "a.b+c@sub.example.org"])
def test_an_address_has_the_shape_of_one(text: str) -> None:
    assert fields.Email().deserialize(text) == text


@pytest.mark.parametrize(
    "text", ["", "a", "a@", "@b.c", "a@b c.d", "a b@c.de", "a@b.c\n", "a@b.c\nx", "a" * 250 + "@example.com"]
)
def test_refuses_what_is_no_address(text: str) -> None:
    assert refuses(fields.Email(), text)


@pytest.mark.parametrize("text", ["-a", ".a", "_a", "a b", "a/b", "a\n", "a;b", "a" * 129, "ä"])
def test_refuses_what_docker_would_not_take_as_a_name(text: str) -> None:
    assert refuses(fields.ContainerName(), text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::/0", "::/0"),
    ],
)
def test_addresses_are_kept_in_their_canonical_form(text: str, kept: str) -> None:
    assert fields.AddressOrNetwork().deserialize(text) == kept


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.0/33", "fe80::1%eth0", "a.b"]
)
def test_refuses_what_is_no_network(text: str) -> None:
    assert refuses(fields.AddressOrNetwork(), text)


def test_a_path_starts_at_the_root() -> None:
    assert fields.AbsolutePath().deserialize("/srv/sites") == Path("/srv/sites")
    for text in ("", "sites", "../sites", "~/sites", "/a\0b"):
        assert refuses(fields.AbsolutePath(), text)


# --- schemas -----------------------------------------------------------------------------------


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
