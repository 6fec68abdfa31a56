"""The thread for periodic work."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import flatrun_core
from flatrun_core.locks import FileLock
from flatrun_core.ports.scheduling import Timer
from flatrun_core.scheduler import TimerThread

ROOT = Path(flatrun_core.__file__).parents[1]
OFTEN = timedelta(milliseconds=30)
NEVER = timedelta(hours=1)


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / ".flatrun" / "scheduler.lock"


@pytest.fixture
def run(lock: Path) -> Iterator[Callable[..., TimerThread]]:
    started: list[TimerThread] = []

    def make(*timers: Timer, **more: object) -> TimerThread:
        thread = TimerThread(timers, lock, **more)  # type: ignore[arg-type]
        started.append(thread)
        thread.start()
        return thread

    yield make
    for thread in started:
        assert thread.stop()


def test_a_timer_runs_again_and_again_until_the_stop(run: Callable[..., TimerThread]) -> None:
    ticks: list[float] = []
    thread = run(Timer("tick", OFTEN, lambda: ticks.append(time.monotonic())))
    wait_until(lambda: len(ticks) >= 3)
    assert thread.stop()
    count = len(ticks)
    time.sleep(0.1)
    assert len(ticks) == count


def test_the_first_run_comes_after_the_interval_unless_told_otherwise(
    run: Callable[..., TimerThread],
) -> None:
    ran: list[str] = []
    soon = timedelta(milliseconds=50)
    run(
        Timer("late", NEVER, lambda: ran.append("late")),
        Timer("soon", NEVER, lambda: ran.append("soon"), soon),
    )
    wait_until(lambda: ran)
    time.sleep(0.1)
    assert ran == ["soon"]


def test_one_that_raises_is_logged_by_name_and_stops_neither_itself_nor_others(
    run: Callable[..., TimerThread], caplog: pytest.LogCaptureFixture
) -> None:
    bad: list[int] = []
    good: list[int] = []

    def fail() -> None:
        bad.append(1)
        raise ZeroDivisionError("nothing to divide")

    run(Timer("renew", OFTEN, fail), Timer("tick", OFTEN, lambda: good.append(1)))
    wait_until(lambda: len(bad) >= 2 and len(good) >= 2)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert {record.getMessage() for record in errors} == {"the timer 'renew' failed"}
    assert all(record.exc_info for record in errors)


def test_each_run_has_a_session_of_its_own(run: Callable[..., TimerThread]) -> None:
    depth, seen, entered = 0, [], 0

    @contextmanager
    def session() -> Iterator[None]:
        nonlocal depth, entered
        depth += 1
        entered += 1
        yield
        depth -= 1

    run(Timer("tick", OFTEN, lambda: seen.append(depth)), session=session)
    wait_until(lambda: len(seen) >= 2)
    assert set(seen) == {1}
    assert entered >= 3  # with the one around on_elected


def test_a_second_one_does_nothing_until_the_first_ends(
    run: Callable[..., TimerThread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flatrun_core.scheduler.RETRY", 0.05)
    ran: list[str] = []
    first = run(
        Timer("t", OFTEN, lambda: ran.append("first")), on_elected=lambda: ran.append("elected first")
    )
    wait_until(lambda: "first" in ran)
    run(Timer("t", OFTEN, lambda: ran.append("second")), on_elected=lambda: ran.append("elected second"))
    time.sleep(0.2)
    assert ran[0] == "elected first"
    assert set(ran[1:]) == {"first"}
    assert first.stop()
    wait_until(lambda: "second" in ran)
    # The next one may be elected before stop() has returned, so the order alone is looked at.
    handover = ran.index("elected second")
    assert set(ran[1:handover]) == {"first"}
    assert set(ran[handover + 1 :]) == {"second"}


def test_what_fails_on_election_does_not_stop_the_timers(
    run: Callable[..., TimerThread], caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []
    run(Timer("tick", OFTEN, lambda: ran.append(1)), on_elected=lambda: 1 / 0)
    wait_until(lambda: ran)
    assert "the timer 'on_elected' failed" in caplog.messages


def test_a_lock_file_that_cannot_be_made_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flatrun_core.scheduler.RETRY", 0.02)
    (tmp_path / ".flatrun").write_text("in the way")
    ran: list[int] = []
    thread = TimerThread([Timer("t", OFTEN, lambda: ran.append(1))], tmp_path / ".flatrun" / "scheduler.lock")
    thread.start()
    wait_until(lambda: caplog.records)
    time.sleep(0.1)
    assert len(caplog.records) == 1
    assert "cannot be used" in caplog.text
    (tmp_path / ".flatrun").unlink()
    wait_until(lambda: ran)
    assert thread.stop()


def test_stopping_waits_for_the_timer_that_runs_but_not_for_ever(run: Callable[..., TimerThread]) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        leave.wait(10)

    thread = run(Timer("slow", OFTEN, slow))
    assert inside.wait(10)
    assert not thread.stop(timeout=0.1)
    leave.set()
    assert thread.stop()


def test_one_that_never_started_stops(lock: Path) -> None:
    assert TimerThread([], lock).stop()
    assert not lock.parent.exists()


def test_of_two_processes_one_runs_the_timers_and_the_other_takes_over_when_it_is_killed(
    lock: Path, tmp_path: Path
) -> None:
    code = """
import os, sys
from datetime import timedelta
from pathlib import Path
import flatrun_core.scheduler as scheduler
from flatrun_core.ports.scheduling import Timer
scheduler.RETRY = 0.1
def tick():
    with open(sys.argv[2], "a") as file:
        file.write(f"{os.getpid()}\\n")
scheduler.TimerThread([Timer("tick", timedelta(milliseconds=20), tick)], Path(sys.argv[1])).start()
print("up", flush=True)
sys.stdin.read()
"""
    ticks = tmp_path / "ticks"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}

    def who() -> list[str]:
        return ticks.read_text().split() if ticks.exists() else []

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, lock, ticks],
            env=environ,
            stdin=subprocess.PIPE,  # they end with this test whatever happens
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        wait_until(lambda: len(who()) >= 10)
        time.sleep(0.3)
        assert len(set(who())) == 1
        assert not FileLock(lock).acquire()
        leader = next(process for process in processes if str(process.pid) == who()[0])
        leader.kill()
        leader.wait()
        wait_until(lambda: len(set(who())) == 2)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
