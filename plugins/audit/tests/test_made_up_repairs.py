"""A foreign row that says that it is the event of a repair is not believed."""

import json
from typing import Any

import pytest

from flatrun_audit import cleanup
from flatrun_audit.canonical import ZERO


def fill(bench: Any, number: int = 5) -> None:
    for index in range(number):
        assert bench.change(f"t{index}").status_code == 200


def made_up(bench: Any, number: int, after: int, **changes: Any) -> None:
    """A foreign row that says what an event of a repair says."""
    facts = {"repair": {"after": after, "head": "", "last": number - 1, "rows": number - 1 - after}}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    bench.insert(number, action="audit.repair", metadata=text, **changes)


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("stepped_over", [False, True])
def test_a_foreign_row_that_tells_of_a_repair_is_not_believed(
    bench: Any, after: int, linked: bool, stepped_over: bool
) -> None:
    fill(bench)
    before = ZERO if after == 0 else bench.row(after).hash
    made_up(bench, 6, after, **({"prev_hash": before} if linked else {}))
    fill(bench, 2 if stepped_over else 0)
    report = bench.verify()
    assert (report.broken.id, report.foreign, report.fault) == (6, 1, None)
    assert report.events == (8 if stepped_over else 5)
    assert bench.cleaner.clean(0).deleted == report.events
    assert bench.verify().fault is None


def test_a_repair_whose_hash_is_not_its_own_is_not_believed(bench: Any) -> None:
    fill(bench)
    facts = {"repair": {"after": 1, "head": "", "last": 4, "rows": 3}}
    bench.sql("UPDATE audit_event SET action = 'audit.repair', metadata = ? WHERE id = 5", json.dumps(facts))
    report = bench.verify()
    assert (report.broken.id, report.foreign, report.fault.id) == (5, 0, 5)
    assert bench.cleaner.clean(0).deleted == 5


def test_a_repair_that_cannot_be_read_locks_nobody_out(bench: Any) -> None:
    fill(bench)
    made_up(bench, 6, 2)
    bench.sql("UPDATE audit_event SET path = CAST(x'ff' AS TEXT) WHERE id = 6")
    assert bench.verify().foreign == 1
    bench.sql("DELETE FROM audit_head")
    fill(bench, 2)
    assert bench.cleaner.clean(0).deleted >= 5


def test_after_a_cleanup_up_to_a_step_the_event_of_it_still_counts(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bench, 2)
    bench.insert(3)
    fill(bench, 2)
    with monkeypatch.context() as patched:
        patched.setattr(cleanup, "_last_old", lambda head, seconds: 2)
        assert bench.cleaner.clean(0).deleted == 2
    report = bench.verify()
    assert (report.broken.id, report.foreign, report.fault) == (3, 1, None)
    bench.sql("DELETE FROM audit_head")
    fill(bench, 1)
    assert bench.verify().fault is None
    assert bench.cleaner.clean(0).deleted == 5
