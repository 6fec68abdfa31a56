"""Durations and times: read, written, refused."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatrun_core import fields
from flatrun_core.fields import format_duration, format_time, parse_duration, parse_time

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


def test_a_duration_field_wants_more_than_zero_unless_told(refuses: Any) -> None:
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
