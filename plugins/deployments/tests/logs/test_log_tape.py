from hypothesis import given
from hypothesis import strategies as st

from flatrun_deployments.log_gate import Gate
from flatrun_deployments.log_tape import Entry, Tape


def line(moment: int, stream: str = "stdout", text: str = "") -> Entry:
    return Entry(moment, stream, (text or f"{stream}{moment}").encode())


def filled(count: int, max_entries: int = 100, max_bytes: int = 1 << 20, *, whole: bool = False) -> Tape:
    tape = Tape(max_entries, max_bytes)
    tape.whole = whole
    for number in range(count):
        tape.append(line(number))
    return tape


def moments(entries: list[Entry]) -> list[int]:
    return [entry.moment for entry in entries]


def test_a_reader_gets_what_came_after_its_position() -> None:
    tape = filled(3)
    entries, position, missed = tape.read(1)
    assert (moments(entries), position, missed) == ([1, 2], 3, 0)
    assert tape.read(position) == ([], 3, 0)


def test_a_reader_that_is_too_slow_is_told_how_many_it_lost() -> None:
    tape = filled(10, max_entries=4)
    entries, position, missed = tape.read(2)
    assert (moments(entries), position, missed) == ([6, 7, 8, 9], 10, 4)


def test_large_entries_push_out_more_but_the_newest_stays() -> None:
    tape = Tape(100, 1000)
    for number in range(3):
        tape.append(Entry(number, "stdout", b"x" * 5000))
    entries, _, missed = tape.read(0)
    assert moments(entries) == [2]
    assert missed == 2


def test_the_last_lines_are_given_when_there_are_that_many() -> None:
    tape = filled(10)
    assert tape.last(3, 0) == ([line(7), line(8), line(9)], 10)
    assert tape.last(11, 0) is None


def test_all_lines_are_given_when_the_tape_has_the_whole_log() -> None:
    assert filled(3, whole=True).last(100, 0) == ([line(0), line(1), line(2)], 3)
    assert filled(0, whole=True).last(100, 0) == ([], 0)
    assert filled(8, max_entries=4, whole=True).last(100, 0) is None


def test_the_last_lines_since_a_time_are_given_when_the_tape_reaches_back_to_it() -> None:
    tape = filled(10)
    assert tape.last(100, 8) == ([line(8), line(9)], 10)
    assert tape.last(100, 0) is None


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 8))
def test_readers_see_each_line_once_or_are_told(steps: list[int], kept: int) -> None:
    tape = Tape(kept, 1 << 20)
    written = position = seen = lost = 0
    for step in steps:
        for _ in range(step):
            tape.append(line(written))
            written += 1
        entries, position, missed = tape.read(position)
        lost += missed
        assert moments(entries) == list(range(written - len(entries), written))
        seen += len(entries)
    assert seen + lost == written


def test_lines_that_were_fetched_do_not_pass_and_newer_ones_do() -> None:
    gate = Gate([line(1), line(2), line(3)])
    assert [n for n in (1, 2, 3, 4, 5) if gate.passes(line(n))] == [4, 5]


def test_lines_of_one_time_pass_as_often_as_they_were_not_fetched() -> None:
    gate = Gate([line(3, text="a"), line(3, text="b")])
    assert not gate.passes(line(3, text="a"))
    assert gate.passes(line(3, text="c"))
    assert not gate.passes(line(3, text="b"))
    assert gate.passes(line(3, text="b"))


def test_the_streams_are_looked_at_apart() -> None:
    gate = Gate([line(1, "stdout"), line(9, "stdout"), line(2, "stderr")])
    assert gate.passes(line(3, "stderr"))
    assert not gate.passes(line(9, "stdout"))


def test_a_stream_without_fetched_lines_passes_from_the_oldest_fetched_on() -> None:
    gate = Gate([line(5, "stdout"), line(9, "stdout")])
    assert not gate.passes(line(4, "stderr"))
    assert gate.passes(line(6, "stderr"))


def test_nothing_older_than_since_passes_when_nothing_was_fetched() -> None:
    gate = Gate([], since=7)
    assert not gate.passes(line(6))
    assert gate.passes(line(7))


def test_a_clock_set_back_loses_no_lines_once_new_ones_have_come() -> None:
    gate = Gate([line(100)])
    assert gate.passes(line(101))
    assert gate.passes(line(50))


def test_notes_about_the_log_always_pass() -> None:
    assert Gate([line(9)]).passes(Entry(0, "", b"note"))


entries = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["stdout", "stderr"])), max_size=30)


@given(entries, st.integers(0, 30), st.integers(0, 30))
def test_fetched_and_passed_lines_together_are_the_log(
    written: list[tuple[int, str]], fetched: int, overlap: int
) -> None:
    log = [line(m, s, f"{i}") for i, (m, s) in enumerate(sorted(written, key=lambda item: item[0]))]
    cut = min(fetched, len(log))
    live = log[max(0, cut - overlap) :]
    gate = Gate(log[:cut])
    passed = [entry for entry in live if gate.passes(entry)]
    assert log[:cut] + passed == log
