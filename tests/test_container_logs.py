"""The Engine's frames become lines, however they are cut."""

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.docker.logs import MAX_LINES, LogParser, newest, since_parameter
from flatrun_core.errors import Invalid
from flatrun_core.ports.docker import LogLine

ENTRY = 16384


def stamp(number: int) -> str:
    return f"2024-01-01T00:00:00.{number:09d}Z"


def frame(stream: int, text: bytes, number: int = 0) -> bytes:
    body = f"{stamp(number)} ".encode() + text
    return bytes([stream, 0, 0, 0]) + len(body).to_bytes(4, "big") + body


def parsed(data: bytes, *, tty: bool = False, size: int = 0) -> list[LogLine]:
    parser = LogParser(tty=tty)
    size = size or len(data) or 1
    lines = [line for at in range(0, len(data), size) for line in parser.feed(data[at : at + size])]
    return [*lines, *parser.finish()]


def shown(lines: list[LogLine]) -> list[tuple[str, str]]:
    return [(line.stream, line.line) for line in lines]


class Chunks:
    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None: ...


class TestFrames:
    def test_lines_of_both_streams(self) -> None:
        data = frame(1, b"out\n", 1) + frame(2, b"err\n", 2)
        assert parsed(data) == [LogLine(stamp(1), "stdout", "out"), LogLine(stamp(2), "stderr", "err")]

    def test_a_line_in_entries_is_one_line_with_the_first_time(self) -> None:
        data = (
            frame(1, b"a" * ENTRY, 1)
            + frame(2, b"between\n", 2)
            + frame(1, b"b" * ENTRY, 1)
            + frame(1, b"c\n", 1)
        )
        lines = parsed(data)
        assert shown(lines) == [("stderr", "between"), ("stdout", "a" * ENTRY + "b" * ENTRY + "c")]
        assert lines[1].timestamp == stamp(1)

    def test_a_character_cut_between_entries_is_whole(self) -> None:
        euro = "€".encode()
        assert shown(parsed(frame(1, b"x" + euro[:1]) + frame(1, euro[1:] + b"\n"))) == [("stdout", "x€")]

    def test_what_has_no_end_comes_at_the_end(self) -> None:
        assert shown(parsed(frame(1, b"no end") + frame(2, b"nor this"))) == [
            ("stderr", "nor this"),
            ("stdout", "no end"),
        ]

    def test_another_time_begins_another_line(self) -> None:
        lines = parsed(frame(1, b"a" * ENTRY, 1) + frame(1, b"its end, cut off", 1) + frame(1, b"next\n", 2))
        assert [(line.timestamp, line.line[-16:]) for line in lines] == [
            (stamp(1), "its end, cut off"),
            (stamp(2), "next"),
        ]

    def test_a_line_without_end_does_not_grow_without_end(self) -> None:
        parser = LogParser(tty=False)
        lines = [line for _ in range(40) for line in parser.feed(frame(1, b"x" * ENTRY))]
        assert len(lines) == 2
        assert all(len(line.line) == 256 << 10 for line in lines)

    def test_carriage_returns_stay_but_for_the_last(self) -> None:
        assert shown(parsed(frame(1, b"10%\r20%\r\n"))) == [("stdout", "10%\r20%")]

    def test_empty_lines_stay(self) -> None:
        assert shown(parsed(frame(1, b"\n") + frame(1, b"\n"))) == [("stdout", ""), ("stdout", "")]

    def test_the_engines_own_words_are_no_lines(self) -> None:
        assert shown(parsed(frame(3, b"Error grabbing logs\n") + frame(1, b"on\n"))) == [("stdout", "on")]

    def test_bytes_that_are_no_text_are_replaced(self) -> None:
        assert shown(parsed(frame(1, b"\xff\xfe\0ok\n"))) == [("stdout", "\ufffd\ufffd\0ok")]

    @given(
        st.lists(
            st.tuples(st.sampled_from([1, 2]), st.text(alphabet=st.characters(blacklist_characters="\n\r")))
        ),
        st.integers(1, 50),
    )
    def test_where_it_is_cut_makes_no_difference(self, lines: list[tuple[int, str]], size: int) -> None:
        lines = [(stream, text.encode("utf-8", "replace").decode()) for stream, text in lines]
        data = b"".join(frame(stream, f"{text}\n".encode(), n) for n, (stream, text) in enumerate(lines))
        names = {1: "stdout", 2: "stderr"}
        assert shown(parsed(data, size=size)) == [(names[stream], text) for stream, text in lines]

    @given(st.binary(max_size=200), st.booleans())
    def test_any_bytes_are_survived(self, data: bytes, tty: bool) -> None:
        parsed(data, tty=tty, size=7)


class TestTerminal:
    def test_lines_end_as_terminals_end_them(self) -> None:
        data = f"{stamp(1)} one\r\n{stamp(2)} two\r\n{stamp(3)} rest".encode()
        assert parsed(data, tty=True, size=5) == [
            LogLine(stamp(1), "stdout", "one"),
            LogLine(stamp(2), "stdout", "two"),
            LogLine(stamp(3), "stdout", "rest"),
        ]

    def test_a_line_in_entries_is_put_together(self) -> None:
        text = "".join(f"{number:07d} " for number in range(5000))
        entries = [text[at : at + ENTRY] for at in range(0, len(text), ENTRY)]
        data = "".join(f"{stamp(1)} {entry}" for entry in entries) + "\r\n"
        assert shown(parsed(data.encode(), tty=True, size=999)) == [("stdout", text)]

    def test_a_line_without_end_does_not_grow_without_end(self) -> None:
        data = f"{stamp(1)} ".encode() + b"x" * (600 << 10) + b"\r\n"
        lines = parsed(data, tty=True, size=10_000)
        assert len(lines) == 3
        assert {line.timestamp for line in lines} == {stamp(1)}
        assert "".join(line.line for line in lines) == "x" * (600 << 10)


class TestCollect:
    def test_in_the_order_of_time(self) -> None:
        data = frame(1, b"second\n", 2) + frame(2, b"first\n", 1)
        lines = LogParser(tty=False).collect(Chunks(data), 10)
        assert [line.line for line in lines] == ["first", "second"]

    def test_the_last_lines_and_no_more_than_memory_allows(self) -> None:
        data = [frame(1, b"x" * 60_000 + b"\n", number) for number in range(1000)]
        lines = LogParser(tty=False).collect(Chunks(*data), MAX_LINES)
        assert 200 < len(lines) < 300
        assert lines[-1].timestamp == stamp(999)
        assert len(LogParser(tty=False).collect(Chunks(*data), 3)) == 3
        assert LogParser(tty=False).collect(Chunks(*data), 0) == []

    @pytest.mark.parametrize(
        ("asked", "given"), [(None, MAX_LINES), (5, 5), (0, 0), (-1, 0), (99999, MAX_LINES)]
    )
    def test_how_many(self, asked: int | None, given: int) -> None:
        assert newest(asked) == given


class TestSince:
    @pytest.mark.parametrize(
        ("time", "value"),
        [
            ("2024-01-01T00:00:00Z", "1704067200.000000000"),
            ("2024-01-01t00:00:00z", "1704067200.000000000"),
            ("2024-01-01T00:00:00.123456789Z", "1704067200.123456789"),
            ("2024-01-01T00:00:00.5Z", "1704067200.500000000"),
            ("2024-01-01T02:30:00+02:30", "1704067200.000000000"),
            ("1970-01-01T00:00:00Z", "0.000000000"),
        ],
    )
    def test_a_time_to_the_nanosecond(self, time: str, value: str) -> None:
        assert since_parameter("since", time) == {"since": value}

    def test_after_a_time(self) -> None:
        assert since_parameter("since", "2024-01-01T00:00:00.999999999Z", after=True) == {
            "since": "1704067201.000000000"
        }

    @pytest.mark.parametrize("time", [None, "1960-01-01T00:00:00Z"])
    def test_no_time_and_times_before_everything(self, time: str | None) -> None:
        assert since_parameter("since", time) == {}

    @pytest.mark.parametrize(
        "time",
        [
            *("", "now", "1h", "2024-01-01", "2024-01-01T00:00:00", "2024-02-30T00:00:00Z"),
            *("2024-01-01T00:00:00Z\n", "2024-01-01T00:00:00.1234567890Z", "0000-01-01T00:00:00Z"),
            "\u0662\u0660\u0662\u0664-01-01T00:00:00Z",
        ],
    )
    def test_what_is_no_time(self, time: str) -> None:
        with pytest.raises(Invalid, match="'since' must be a time"):
            since_parameter("since", time)

    @given(st.text())
    def test_any_text_is_answered(self, time: str) -> None:
        with contextlib.suppress(Invalid):
            since_parameter("since", time)

    def test_the_last_time_there_is(self) -> None:
        since_parameter("since", "9999-12-31T23:59:59.999999999+00:00")
        with pytest.raises(Invalid):
            since_parameter("since", "0001-01-01T00:00:00+23:59")
