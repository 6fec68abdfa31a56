"""Exports: whole, streamed, harmless in a spreadsheet, and fit to be verified."""

import csv
import io
import json
import re
from typing import Any

import pytest

from flatrun_audit.chain import CHAIN, Draft
from flatrun_audit.exporting import COLUMNS
from flatrun_audit.reading import verify_export
from flatrun_audit.verifying import ChainCheck, Report
from flatrun_core.ports.auth import Actor


def write(bench: Any, number: int, **values: Any) -> None:
    drafts = [
        Draft(n, Actor("user", str(n % 3)), "x.y", "x", **{"resource_id": f"r{n}", **values})
        for n in range(number)
    ]
    with bench.database.atomic():
        bench.services.get(CHAIN).append(drafts)


def verified(text: str, *, gaps: bool = False) -> Report:
    return verify_export(io.StringIO(text), ChainCheck(gaps=gaps))


def test_json_is_an_array_of_the_events_as_they_are_listed(bench: Any) -> None:
    write(bench, 1200)
    listed = bench.events(limit=1000)
    answer = bench.export()
    assert answer.mimetype == "application/json"
    name = answer.headers["Content-Disposition"]
    assert re.fullmatch(r'attachment; filename="audit_export_\d{8}_\d{6}\.json"', name)
    assert answer.get_json()[:1000] == listed
    assert len(answer.get_json()) == 1200
    report = verified(answer.get_data(as_text=True))
    assert (report.whole, report.events, report.unchecked) == (True, 1200, 0)


def test_csv_has_the_columns_of_the_contract_and_no_formulas(bench: Any) -> None:
    for name in ("=1+1", "+1", "-1", "@SUM(A1)", 'quo"te, comma', "plain"):
        write(bench, 1, resource_id=name, error_message=f"{name} is not good")
    answer = bench.export(format="csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].endswith('.csv"')
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True), newline="")))
    assert tuple(rows[0]) == COLUMNS
    expected = ["'=1+1", "'+1", "'-1", "'@SUM(A1)", 'quo"te, comma', "plain"]
    assert [row["resource_id"] for row in rows[::-1]] == expected
    assert rows[5]["error_message"] == "'=1+1 is not good"
    assert (rows[0]["success"], rows[0]["timestamp"]) == ("true", "1970-01-01T00:00:00.000000Z")
    assert answer.get_data().count(b"\r\n") == 7


def test_an_export_of_nothing_is_still_an_export(bench: Any) -> None:
    assert bench.export().get_json() == []
    assert bench.export(action="x.z", format="csv").get_data(as_text=True).strip() == ",".join(COLUMNS)


def test_filters_and_the_limit_choose_the_newest(bench: Any) -> None:
    write(bench, 30)
    found = bench.export(actor_id="1", limit=4, success=True, end_time="2024-01-01T00:00:00Z").get_json()
    assert [event["resource_id"] for event in found] == ["r28", "r25", "r22", "r19"]


def test_a_filtered_export_verifies_event_by_event_and_says_what_it_could_not(bench: Any) -> None:
    write(bench, 30)
    text = bench.export(actor_id="1").get_data(as_text=True)
    report = verified(text, gaps=True)
    assert (report.whole, report.events, report.unchecked) == (True, 10, 10)
    assert verified(text).broken is not None


def test_the_newest_part_of_a_chain_verifies_but_for_what_it_hangs_on(bench: Any) -> None:
    write(bench, 30)
    report = verified(bench.export(limit=7).get_data(as_text=True))
    assert (report.whole, report.events, report.unchecked) == (True, 7, 1)


def test_the_export_is_recorded_before_its_first_byte_and_is_not_in_itself(bench: Any) -> None:
    write(bench, 3)
    answer = bench.client.post("/api/audit/export", json={"actor_id": "1"}, buffered=False)
    event = bench.events()[0]
    assert event["action"] == "audit.export"
    assert event["metadata"] == {
        "events": 1, "filters": {"actor_id": "1"}, "first_id": 2, "format": "json", "last_id": 2,
    }  # fmt: skip
    assert [found["id"] for found in answer.get_json()] == [2]


def test_no_connection_is_held_between_the_pieces(bench: Any) -> None:
    write(bench, 1500)
    answer = bench.client.post("/api/audit/export", json={}, buffered=False)
    pieces = iter(answer.response)
    begun = next(pieces)
    assert bench.database.peewee.is_closed()
    write(bench, 5)
    rest = b"".join(pieces)
    assert bench.database.peewee.is_closed()
    assert len(json.loads(begun + rest)) == 1500


def test_events_that_a_cleanup_takes_meanwhile_are_left_out(bench: Any) -> None:
    write(bench, 1500)
    pieces = iter(bench.client.post("/api/audit/export", json={}, buffered=False).response)
    begun = next(pieces)
    bench.cleaner.clean(0)
    assert len(json.loads(begun + b"".join(pieces))) == 500


@pytest.mark.parametrize(
    "body",
    [
        {"format": "xml"},
        {"limit": 0},
        {"limit": "ten"},
        {"success": "true"},
        {"start_time": "soon"},
        {"action": 1},
    ],
)
def test_a_bad_value_is_400(bench: Any, body: Any) -> None:
    answer = bench.client.post("/api/audit/export", json=body)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "VALIDATION_ERROR")


def test_a_larger_limit_counts_as_the_largest(bench: Any) -> None:
    assert bench.export(limit=10_000_000).get_json() == []


def tampered(bench: Any, change: Any) -> Report:
    write(bench, 6)
    events = bench.export().get_json()
    return verified(json.dumps(change(events) or events, indent=1))


def test_an_export_in_another_layout_is_as_good(bench: Any) -> None:
    assert tampered(bench, lambda events: None).whole
    assert verified(json.dumps(bench.export().get_json()[::-1])).whole


CHANGES: dict[str, tuple[Any, int, str]] = {
    "a field": (lambda events: events[3].update(actor_name="eve"), 3, "it was changed"),
    "a type": (lambda events: events[3].update(response_status="0"), 3, "it was changed"),
    "an added field": (lambda events: events[3].update(note=""), 3, "it was changed"),
    "a field that went": (lambda events: events[3].pop("metadata") and None, 3, "it was changed"),
    "a hash that went": (lambda events: events[3].pop("hash") and None, 3, "it was changed"),
    "an event that went": (lambda events: events[:3] + events[4:], 4, "event 3 is missing before it"),
    "two that changed places": (
        lambda events: [*events[:2], events[3], events[2], *events[4:]],
        4,
        "it is out of order",
    ),
    "one that is twice": (lambda events: [*events[:3], events[2], *events[3:]], 4, "out of order"),
    "several": (lambda events: [event.update(path="/") for event in events[:3]] and None, 4, "changed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_export_is_found_and_the_first_broken_link_named(bench: Any, name: str) -> None:
    change, number, reason = CHANGES[name]
    broken = tampered(bench, change).broken
    assert broken is not None
    assert (broken.id, reason in broken.reason) == (number, True), broken


def test_an_event_that_was_sealed_anew_breaks_the_link_after_it(bench: Any) -> None:
    import hashlib

    from flatrun_audit.canonical import canonical

    def reseal(events: list[dict[str, Any]]) -> None:
        event = events[3]
        event["actor_name"] = "eve"
        del event["hash"]
        event["hash"] = hashlib.sha256(canonical(event).encode()).hexdigest()

    broken = tampered(bench, reseal).broken
    assert broken is not None
    assert (broken.id, broken.reason) == (4, "its prev_hash is not the hash of event 3")


def test_a_key_that_stands_twice_is_found(bench: Any) -> None:
    write(bench, 1)
    text = bench.export().get_data(as_text=True)
    assert verified(text).whole
    assert not verified(text.replace('"actor_id":', '"actor_id":"9","actor_id":')).whole
