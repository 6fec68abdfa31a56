"""Changes that were admitted and whose panel stopped before they ended."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from flatrun_audit.interrupted import INTERRUPTED, Interrupted
from flatrun_audit.models import Begun, OpenRequest
from flatrun_audit.process import Process, this_process
from flatrun_core.db import now

WAIT = "import sys; print(flush=True); sys.stdin.read()"  # until it is killed, or the test is over


@pytest.fixture
def interrupted(bench: Any) -> Interrupted:
    return bench.watch._interrupted


def put(bench: Any, process: Process, name: str = "r1", *, age: int = 0) -> Begun:
    at = int((now().timestamp() - age) * 1_000_000)
    row = Begun(
        name, at, "user", "7", "ada", "", "things.change", "PUT", "/api/shop/x", "thing", "x", "10.0.0.9",
        host=process.host, pid=process.pid, started=process.started,
    )  # fmt: skip
    with bench.database.atomic():
        OpenRequest.add(row)
    return row


def dead_process() -> Process:
    with subprocess.Popen(
        [sys.executable, "-c", WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = replace(this_process(), pid=process.pid, started=started_of(process.pid))
        assert not found.gone
        process.send_signal(signal.SIGKILL)
        process.wait()
    return found


def started_of(pid: int) -> str:
    from flatrun_audit.process import _started

    return _started(pid)


def test_a_change_leaves_no_open_request_behind(bench: Any) -> None:
    bench.change()
    bench.change(outcome="crash")
    assert bench.sql("SELECT COUNT(*) FROM audit_open_request") == [(0,)]
    assert bench.recorder.open_requests == frozenset()


def test_a_change_under_way_stands_among_the_open_requests_without_its_body(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    finish = bench.recorder.finish

    def look(*arguments: Any) -> None:
        seen.extend(bench.sql("SELECT action, path, actor_type, pid FROM audit_open_request"))
        finish(*arguments)

    monkeypatch.setattr(bench.recorder, "finish", look)
    bench.change(password="hunter22")
    assert seen == [("things.change", "/api/shop/x", "api_key", os.getpid())]


def test_a_change_of_a_process_that_was_killed_becomes_an_event(bench: Any, interrupted: Interrupted) -> None:
    put(bench, dead_process())
    assert interrupted.recover() == 1
    assert interrupted.recover() == 0
    (event,) = bench.events()
    assert (event["success"], event["response_status"], event["error_message"]) == (False, 0, INTERRUPTED)
    assert (event["request_id"], event["actor_name"], event["client_ip"]) == ("r1", "ada", "10.0.0.9")
    assert bench.verify().whole


def test_another_process_with_the_number_of_the_one_that_is_gone_is_told_apart(
    bench: Any, interrupted: Interrupted
) -> None:
    put(bench, replace(this_process(), started="another boot-1"))
    assert interrupted.recover() == 1


def test_changes_of_living_processes_are_left_alone(bench: Any, interrupted: Interrupted) -> None:
    parent = os.getppid()
    put(bench, Process(this_process().host, parent, started_of(parent)))
    assert interrupted.recover() == 0


def test_another_hosts_changes_are_given_a_day(bench: Any, interrupted: Interrupted) -> None:
    put(bench, Process("elsewhere", 1, "x"), "young", age=3600)
    put(bench, Process("elsewhere", 1, "x"), "old", age=25 * 3600)
    assert interrupted.recover() == 1
    assert [event["request_id"] for event in bench.events()] == ["old"]


def test_any_number_is_recovered_past_those_that_stay(bench: Any, interrupted: Interrupted) -> None:
    gone = replace(this_process(), started="gone")
    for number in range(450):
        put(bench, gone if number % 3 else Process("elsewhere", 1, "x"), f"r{number}")
    assert interrupted.recover() == 300
    assert bench.sql("SELECT COUNT(*) FROM audit_open_request") == [(150,)]
    assert bench.verify().whole


def test_the_start_of_a_panel_recovers_and_its_end_stops_the_thread(bench: Any) -> None:
    put(bench, replace(this_process(), started="gone"))
    panel = bench.app.extensions["flatrun"]
    panel.hooks.notify("flatrun_on_serve")
    assert [event["error_message"] for event in bench.events()] == [INTERRUPTED]
    panel.hooks.notify("flatrun_on_shutdown", reverse=True)
    assert not bench.watch._thread.is_alive()


def test_recovery_that_fails_stops_no_start(bench: Any, failing: Any) -> None:
    put(bench, replace(this_process(), started="gone"))
    failing(True)
    bench.watch.start()
    bench.watch.stop()
    failing(False)
    assert bench.events() == []
    bench.watch.look(recover=True)
    assert len(bench.events()) == 1
