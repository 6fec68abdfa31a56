"""When events cannot be written: nothing is changed unseen, or what was lost is counted."""

import sqlite3
from typing import Any

import pytest

from flatrun_audit.outage import Outage
from flatrun_core import Failed, Unavailable
from flatrun_core.ports.auth import RECORD, RecordedEvent


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(bench: Any) -> Clock:
    clock = Clock()
    bench.recorder.outage = Outage(clock)
    return clock


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, (answer.get_json() or {}).get("code", "")


def test_a_change_that_could_not_be_recorded_is_refused_before_it_happens(
    bench: Any, clock: Clock, failing: Any
) -> None:
    failing(True)
    assert code(bench.change()) == (503, "AUDIT_UNAVAILABLE")
    failing(False)
    assert code(bench.change()) == (503, "AUDIT_UNAVAILABLE")
    clock.now += 1.5
    assert code(bench.change()) == (200, "")
    resumed, changed = bench.events()
    assert changed["action"] == "things.change"
    assert (resumed["action"], resumed["actor_type"]) == ("audit.resume", "system")
    assert resumed["metadata"] == {"lost": 2, "seconds": 1}
    assert bench.verify().whole


def test_the_answer_to_what_happened_and_could_not_be_recorded_says_so(
    bench: Any, clock: Clock, failing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = bench.recorder.begin
    monkeypatch.setattr(bench.recorder, "begin", lambda request: (begin(request), failing(True))[0])
    assert code(bench.change("first")) == (500, "AUDIT_FAILED")
    monkeypatch.undo()
    assert [row[0] for row in bench.sql("SELECT resource_id FROM audit_open_request")] == ["first"]
    clock.now += 2
    bench.watch.look(recover=False)
    resumed, recovered = bench.events()
    assert resumed["metadata"]["lost"] == 1
    assert (recovered["action"], recovered["resource_id"], recovered["success"]) == (
        "things.change",
        "first",
        False,
    )
    assert recovered["error_message"] == "The event of this request could not be written when it ended"
    assert bench.sql("SELECT COUNT(*) FROM audit_open_request") == [(0,)]


def test_secrets_are_not_answered_unrecorded_and_refused_reads_keep_their_refusal(
    bench: Any, clock: Clock, failing: Any
) -> None:
    somebody = bench.session([])
    failing(True)
    secret = bench.client.get("/api/shop/x/env")
    assert code(secret) == (500, "AUDIT_FAILED")
    assert "s3cret" not in secret.get_data(as_text=True)
    assert code(bench.nobody.get("/api/shop/x")) == (401, "AUTH_REQUIRED")
    assert code(somebody.get("/api/shop/x")) == (403, "PERMISSION_DENIED")
    assert code(somebody.get("/api/shop/x/env")) == (403, "PERMISSION_DENIED")
    assert bench.client.get("/api/shop/x").status_code == 200
    failing(False)
    assert bench.nobody.get("/api/shop/x").status_code == 401
    resumed, refused = bench.events()
    assert (refused["response_status"], resumed["metadata"]["lost"]) == (401, 4)


def test_one_attempt_a_second_is_made_whoever_asks(bench: Any, clock: Clock, failing: Any) -> None:
    failing(True)
    bench.change()
    attempts: list[float] = []

    def attempt() -> None:
        attempts.append(clock.now)
        bench.recorder.write(())

    for _ in range(40):
        clock.now += 0.1
        with pytest.raises(Unavailable) as caught:
            bench.recorder.outage.admit(attempt)
        assert caught.value.headers == {"Retry-After": "5"}
    assert len(attempts) == 4


def test_with_continue_requests_go_on_and_the_next_event_counts_what_was_lost(
    make_bench: Any, failing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make_bench(on_failure="continue")
    failing(True)
    assert code(bench.change()) == (200, "")
    assert bench.client.get("/api/shop/x/env").status_code == 200
    bench.services.get(RECORD).write(RecordedEvent("x.y", "x"))
    errors = [record for record in caplog.records if "the audit cannot be written" in record.message]
    assert len(errors) == 4
    assert {record.levelname for record in errors} == {"ERROR"}
    failing(False)
    bench.change()
    resumed, changed = bench.events()
    assert (changed["action"], resumed["action"]) == ("things.change", "audit.resume")
    assert resumed["metadata"]["lost"] == 3
    assert bench.verify().whole


def test_work_that_is_no_request_fails_with_its_event(bench: Any, failing: Any) -> None:
    failing(True)
    with pytest.raises(Failed) as caught:
        bench.services.get(RECORD).write(RecordedEvent("x.y", "x"))
    assert caught.value.code == "AUDIT_FAILED"


def test_a_database_that_is_read_only_for_a_while_loses_nothing_but_time(bench: Any, clock: Clock) -> None:
    bench.change("before")
    holder = sqlite3.connect(bench.path)
    with bench.database.session():
        bench.database.peewee.execute_sql("PRAGMA query_only = 1")
        assert code(bench.change("meanwhile")) == (503, "AUDIT_UNAVAILABLE")
        bench.database.peewee.execute_sql("PRAGMA query_only = 0")
    holder.close()
    clock.now += 5
    assert code(bench.change("after")) == (200, "")
    assert sorted(event["resource_id"] for event in bench.events()) == ["", "after", "before"]
    assert bench.verify().whole
