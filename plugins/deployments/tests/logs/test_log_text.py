from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.ports.docker import NUMBER_LABEL, SERVICE_LABEL, Container, LogLine
from flatrun_deployments.log_text import (
    SECOND,
    clean,
    last_lines,
    nanoseconds,
    prefix,
    render,
    since_moment,
    timestamp,
)

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
LATEST = nanoseconds("9999-12-30T00:00:00Z")


def container(name: str = "x", service: str | None = "web", number: int = 1) -> Container:
    labels = {NUMBER_LABEL: str(number)} | ({SERVICE_LABEL: service} if service else {})
    return Container("a" * 64, name, "image", "running", "Up", "none", NOW, labels=labels)


def line(moment: int, text: str, stream: str = "stdout") -> LogLine:
    return LogLine(timestamp(moment), stream, text)


@given(st.integers(0, LATEST))
def test_a_moment_survives_being_written_and_read(moment: int) -> None:
    assert nanoseconds(timestamp(moment)) == moment


@given(st.integers(0, LATEST), st.integers(0, LATEST))
def test_times_as_text_have_the_order_of_their_moments(one: int, other: int) -> None:
    assert (timestamp(one) < timestamp(other)) == (one < other)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00Z"),
        ("2024-05-01t12:00:00z", "2024-05-01T12:00:00Z"),
        ("2024-05-01T12:00:00.5Z", "2024-05-01T12:00:00.500000000Z"),
    ],
)
def test_the_spellings_of_rfc_3339_are_read(text: str, same: str) -> None:
    assert nanoseconds(text) == nanoseconds(same)


@pytest.mark.parametrize(
    "text", ["", "now", "2024-05-01", "2024-05-01T12:00:00", "2024-13-01T00:00:00Z", "٢024-05-01T12:00:00Z"]
)
def test_other_texts_are_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        nanoseconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", "2024-05-01T11:50:00Z"),
        ("1h30m", "2024-05-01T10:30:00Z"),
        ("1d", "2024-04-30T12:00:00Z"),
        ("0", "2024-05-01T12:00:00Z"),
        ("2024-04-01T00:00:00Z", "2024-04-01T00:00:00Z"),
        ("100w", "2022-06-01T12:00:00Z"),
        ("1000000h", "1970-01-01T00:00:00Z"),
        ("1066-10-14T00:00:00Z", "1970-01-01T00:00:00Z"),
    ],
)
def test_since_is_a_time_or_a_duration_back_from_now(text: str, expected: str) -> None:
    assert since_moment(text, NOW) == nanoseconds(expected)


@pytest.mark.parametrize("text", ["", "yesterday", "-5m", "5", "10 m", "2024-05-01", "9" * 80 + "h", "5m\n"])
def test_any_other_since_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        since_moment(text, NOW)


@given(st.text())
def test_any_since_gives_a_time_that_can_be_written_or_is_refused(text: str) -> None:
    try:
        moment = since_moment(text, NOW)
    except ValueError:
        return
    assert nanoseconds(timestamp(moment)) == moment


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;196mbold\x1b[m", "bold"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("up\x1b[2A\x1b[Kdate", "update"),
        ("cut \x1b[", "cut "),
        ("cut \x1b", "cut "),
        ("terminal\r", "terminal"),
        ("Grüße \U0001f600", "Grüße \U0001f600"),
        ("\x1b(Bplain\x1b=", "plain"),
    ],
)
def test_lines_lose_their_escape_sequences(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text(st.sampled_from("\x1b[]()0;mAz\x07\\ ü\r") | st.characters(), max_size=60))
def test_no_escape_is_ever_left(text: str) -> None:
    shown = clean(text)
    assert "\x1b" not in shown
    assert clean(shown) == shown


@given(st.text(st.characters(exclude_characters="\x1b\r")))
def test_text_without_escapes_stays(text: str) -> None:
    assert clean(text) == text


def test_lines_begin_as_with_docker_compose() -> None:
    assert prefix(container(service="web", number=2)) == "web-2  | "
    assert prefix(container("alone", service=None)) == "alone  | "


def test_the_last_lines_of_all_containers_are_those_by_time() -> None:
    one, two = container("one"), container("two")
    logs = [
        (one, [line(1, "a"), line(4, "d"), line(6, "f")]),
        (two, [line(2, "b"), line(3, "c"), line(5, "e")]),
    ]
    assert [found.line for _, found in last_lines(logs, 4)] == ["c", "d", "e", "f"]
    assert [found.line for _, found in last_lines(logs, 100)] == list("abcdef")


times = st.lists(st.integers(0, 50), max_size=20)


@given(st.lists(times, max_size=4), st.integers(1, 30))
def test_merging_keeps_the_order_of_each_container(logs: list[list[int]], tail: int) -> None:
    containers = [
        (container(str(n)), [line(t, str(i)) for i, t in enumerate(ts)]) for n, ts in enumerate(logs)
    ]
    merged = last_lines(containers, tail)
    assert len(merged) == min(tail, sum(map(len, logs)))
    for one, _ in containers:
        numbers = [int(found.line) for owner, found in merged if owner is one]
        assert numbers == sorted(numbers)


def test_text_has_times_and_services_as_asked() -> None:
    lines = [(container(), line(SECOND, "\x1b[1mhello\x1b[0m"))]
    assert render(lines, timestamps=True, prefixed=True) == "web-1  | 1970-01-01T00:00:01.000000000Z hello\n"
    assert render(lines, timestamps=False, prefixed=True) == "web-1  | hello\n"
    assert render(lines, timestamps=False, prefixed=False) == "hello\n"
    assert render([], timestamps=True, prefixed=True) == ""
