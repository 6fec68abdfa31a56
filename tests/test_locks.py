"""Locks within a process and between processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flatrun_core
from flatrun_core.errors import Conflict
from flatrun_core.locks import FileLock, LockTable
from flatrun_core.ports.scheduling import LOCK_ORDER

ROOT = Path(flatrun_core.__file__).parents[1]
KEYS = st.tuples(st.sampled_from(LOCK_ORDER), st.sampled_from(["", "a", "b"]))


@pytest.fixture
def locks() -> LockTable:
    return LockTable()


@pytest.fixture
def others() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.002)


def queued(locks: LockTable, name: str) -> int:
    return len(locks._claims.get((LOCK_ORDER.index("deployment"), name), ()))


def wait_for_queue(locks: LockTable, length: int) -> None:
    """Until so many hold or await the lock of ``shop``."""
    wait_until(lambda: queued(locks, "shop") == length)


def take(locks: LockTable, kind: str = "deployment", name: str = "shop", wait: float = 0) -> None:
    with locks.hold(kind, name, wait):
        pass


def test_a_busy_lock_is_refused_at_once_and_free_again_afterwards(
    locks: LockTable, others: ThreadPoolExecutor
) -> None:
    with locks.hold("deployment", "shop"):
        with pytest.raises(Conflict) as caught:
            others.submit(take, locks).result()
        others.submit(take, locks, "deployment", "blog").result()
        others.submit(take, locks, "proxy", "shop").result()
    assert (caught.value.status, caught.value.code) == (409, "OPERATION_IN_PROGRESS")
    assert "deployment shop" in caught.value.message
    others.submit(take, locks).result()


def test_a_wait_ends_with_a_refusal_after_its_time(locks: LockTable, others: ThreadPoolExecutor) -> None:
    with locks.hold("deployment", "shop"):
        started = time.monotonic()
        with pytest.raises(Conflict):
            others.submit(take, locks, wait=0.1).result()
        assert time.monotonic() - started >= 0.1
        assert queued(locks, "shop") == 1


def test_a_thread_may_take_its_lock_again_and_keeps_it_until_the_last_end(
    locks: LockTable, others: ThreadPoolExecutor
) -> None:
    with locks.hold("deployment", "shop"):
        with locks.hold("proxy"), locks.hold("deployment", "shop"), locks.hold("proxy"):
            pass
        with pytest.raises(Conflict):
            others.submit(take, locks).result()
    others.submit(take, locks).result()


def test_an_exception_lets_go(locks: LockTable, others: ThreadPoolExecutor) -> None:
    with pytest.raises(ZeroDivisionError), locks.hold("settings"), locks.hold("proxy"):
        raise ZeroDivisionError
    others.submit(take, locks, "settings", "").result()
    take(locks, "settings", "")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("proxy", ""), ("deployment", "shop")),
        (("database", ""), ("settings", "")),
        (("deployment", "shop"), ("deployment", "blog")),
        (("certificate", "b"), ("certificate", "a")),
    ],
)
def test_a_wrong_order_is_refused_at_once_and_takes_nothing(
    locks: LockTable, others: ThreadPoolExecutor, first: tuple[str, str], second: tuple[str, str]
) -> None:
    with locks.hold(*first):
        with pytest.raises(RuntimeError, match="the order is settings, deployment, certificate"):
            take(locks, *second, wait=10)
        others.submit(take, locks, *second).result()
    with locks.hold(*second), locks.hold(*first):
        pass


def test_the_order_is_each_threads_own(locks: LockTable, others: ThreadPoolExecutor) -> None:
    with locks.hold("proxy"):
        others.submit(take, locks, "settings", "").result()


def test_an_unknown_kind_is_a_mistake(locks: LockTable) -> None:
    with pytest.raises(RuntimeError, match="no kind of lock 'site'"):
        take(locks, "site")


def test_who_waits_longest_gets_it_first(locks: LockTable, others: ThreadPoolExecutor) -> None:
    order: list[int] = []

    def enter(number: int) -> None:
        with locks.hold("deployment", "shop", wait=10):
            order.append(number)

    with locks.hold("deployment", "shop"):
        done = []
        for number in range(10):
            done.append(others.submit(enter, number))
            wait_for_queue(locks, number + 2)
        with pytest.raises(Conflict):
            others.submit(take, locks).result()
    for one in done:
        one.result()
    assert order == list(range(10))


def test_nobody_passes_those_who_wait(locks: LockTable, others: ThreadPoolExecutor) -> None:
    """A holder that lets go and asks again at once gets behind the one that waited."""
    order: list[str] = []

    def patient() -> None:
        with locks.hold("deployment", "shop", wait=10):
            order.append("patient")

    with locks.hold("deployment", "shop"):
        waiting = others.submit(patient)
        wait_for_queue(locks, 2)
    with locks.hold("deployment", "shop", wait=10):
        order.append("greedy")
    waiting.result()
    assert order == ["patient", "greedy"]


def test_only_one_holds_it_at_any_time(locks: LockTable, others: ThreadPoolExecutor) -> None:
    inside, most, turns = 0, 0, 0

    def work(_: int) -> None:
        nonlocal inside, most, turns
        with locks.hold("deployment", "shop", wait=30):
            inside += 1
            most = max(most, inside)
            turns += 1
            inside -= 1

    list(others.map(work, range(2000)))
    assert (most, turns) == (1, 2000)


def test_what_nobody_holds_is_forgotten(locks: LockTable, others: ThreadPoolExecutor) -> None:
    def busy(number: int) -> None:
        with ExitStack() as stack:
            for kind in LOCK_ORDER:
                stack.enter_context(locks.hold(kind, str(number % 7), wait=10))

    list(others.map(busy, range(500)))
    with locks.hold("deployment", "shop"), pytest.raises(Conflict):
        others.submit(take, locks, wait=0.01).result()
    assert locks._claims == {}


def test_a_wait_that_is_interrupted_leaves_the_queue(locks: LockTable, others: ThreadPoolExecutor) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with locks.hold("deployment", "shop"):
            entered.set()
            leave.wait(10)

    held = others.submit(other)
    assert entered.wait(10)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Interrupted):
            take(locks, wait=10)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert queued(locks, "shop") == 1
    leave.set()
    held.result()
    take(locks)


@given(st.lists(KEYS, max_size=8))
def test_any_sequence_is_taken_or_refused_by_the_order_alone(keys: list[tuple[str, str]]) -> None:
    locks = LockTable()
    held: list[tuple[int, str]] = []
    with ExitStack() as stack:
        for kind, name in keys:
            rank = (LOCK_ORDER.index(kind), name)
            if rank in held or not held or rank > max(held):
                stack.enter_context(locks.hold(kind, name))
                held.append(rank)
            else:
                with pytest.raises(RuntimeError):
                    stack.enter_context(locks.hold(kind, name))
    assert locks._claims == {}


# --- between processes ----------------------------------------------------------------------------


def test_a_file_lock_is_one_holders_only(tmp_path: Path) -> None:
    one, two = FileLock(tmp_path / "a" / "lock"), FileLock(tmp_path / "a" / "lock")
    assert one.acquire()
    assert one.acquire()
    assert not two.acquire()
    one.release()
    one.release()
    assert two.acquire()
    two.release()
    assert (tmp_path / "a" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_file_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from flatrun_core.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""
    lock = FileLock(tmp_path / "lock")
    process = subprocess.Popen(
        [sys.executable, "-c", code, lock.path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,  # it ends with this test whatever happens
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    assert not lock.acquire()
    process.kill()
    process.communicate()
    assert lock.acquire()
    lock.release()
