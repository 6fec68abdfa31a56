"""Of a large chain a second process looks at one half; what is found is the same."""

from pathlib import Path
from typing import Any

import pytest

from flatrun_audit import second_half, verifying_database
from flatrun_audit.chain import CHAIN, Draft
from flatrun_core.ports.auth import Actor


@pytest.fixture
def ranges(bench: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return the ranges of events that were looked at here; a chain of ten counts as large."""
    monkeypatch.setattr(second_half, "WORTH_IT", 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    with bench.database.atomic():
        bench.services.get(CHAIN).append([Draft(n, Actor("system"), "x.y", "x") for n in range(10)])
    read = verifying_database._rows
    seen: list[tuple[int, int]] = []

    def watched(first: int, last: int) -> Any:
        seen.append((first, last))
        return read(first, last)

    monkeypatch.setattr(verifying_database, "_rows", watched)
    return seen


def test_half_of_a_good_chain_is_looked_at_elsewhere(bench: Any, ranges: list[Any]) -> None:
    report = bench.verify()
    assert (report.verdict, report.events, report.first.id, report.last.id) == ("whole", 10, 1, 10)
    assert ranges == [(1, 5)]
    bench.cleaner.clean(0)
    with bench.database.atomic():
        bench.services.get(CHAIN).append([Draft(n, Actor("system"), "x.y", "x") for n in range(6)])
    assert (bench.verify().verdict, bench.verify().events) == ("whole", 6)


BROKEN = {
    "UPDATE audit_event SET path = '/' WHERE id = 2": 2,
    "UPDATE audit_event SET path = '/' WHERE id = 5": 5,
    "UPDATE audit_event SET path = '/' WHERE id = 6": 6,
    "UPDATE audit_event SET success = '' WHERE id = 9": 9,
    "UPDATE audit_event SET path = CAST(x'ff' AS TEXT) WHERE id = 8": 8,
    "UPDATE audit_event SET prev_hash = 'x' WHERE id = 6": 6,
    "DELETE FROM audit_event WHERE id = 6": 7,
    "DELETE FROM audit_event WHERE id = 5": 6,
    "DELETE FROM audit_event WHERE id = 8": 9,
    "DELETE FROM audit_event WHERE id = 10": 10,
    "DELETE FROM audit_event WHERE id > 5": 10,
    "UPDATE audit_head SET events = 9": 10,
}


@pytest.mark.parametrize("statement", BROKEN)
def test_what_is_broken_in_either_half_is_named(bench: Any, ranges: list[Any], statement: str) -> None:
    bench.sql(statement)
    assert bench.verify().broken.id == BROKEN[statement]


def test_an_event_of_a_repair_in_the_other_half_is_looked_at_here(bench: Any, ranges: list[Any]) -> None:
    bench.sql("DELETE FROM audit_head")
    bench.change()
    report = bench.verify()
    assert (report.broken.id, report.events, report.fault) == (11, 12, None)
    assert ranges == [(1, 6), (7, 12)]


def test_a_process_that_fails_costs_nothing_but_time(
    bench: Any, ranges: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert bench.verify().verdict == "whole"
    assert ranges == [(1, 5), (6, 10)]


def test_it_answers_for_nothing_that_is_not_there(bench: Any, ranges: list[Any]) -> None:
    found = second_half.unremarkable(bench.path, 5, 10)
    assert found is not None
    assert (found.first[0], found.last[0], found.count) == (6, 10, 5)
    assert second_half.unremarkable(bench.path, 5, 11) is None
    assert second_half.unremarkable(bench.path, 10, 12) is None


def test_one_processor_or_a_small_chain_is_looked_at_alone(
    bench: Any, ranges: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    assert bench.verify().verdict == "whole"
    assert ranges == [(1, 10)]


def test_the_command_in_a_folder_with_spaces_is_one_path(
    bench: Any, ranges: list[Any], tmp_path: Path
) -> None:
    other = tmp_path / "a folder?#%" / "a b.db"
    other.parent.mkdir()
    bench.sql("VACUUM INTO ?", str(other))
    assert second_half.unremarkable(other, 0, 10) is not None
