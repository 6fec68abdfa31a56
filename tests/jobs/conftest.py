"""A database, runners of jobs, and other processes."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import flatrun_core
from flatrun_core.db import PanelDatabase, open_database
from flatrun_core.jobs import CORE_MIGRATIONS, JobRow, JobRunner
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.scheduling import JobContext, JobKind, JobRecord
from flatrun_core.storage import SqliteStorage, sqlite_url

ROOT = Path(flatrun_core.__file__).parents[1]
Run = Callable[[JobContext], Mapping[str, Any] | None]


def eventually(true: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)


@dataclass
class Bench:
    """A database, the kinds and what a test wants to look at."""

    database: PanelDatabase
    url: str
    locks: LockTable = field(default_factory=LockTable)
    kinds: dict[str, JobKind] = field(default_factory=dict)
    failed: list[JobRecord] = field(default_factory=list)
    runners: list[JobRunner] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    inside: list[str] = field(default_factory=list)

    def kind(self, name: str, run: Run, recover: Callable[[JobRecord], None] | None = None) -> None:
        self.kinds[name] = JobKind(name, run, recover)

    def runner(self, *, start: bool = True, workers: int = 4) -> JobRunner:
        made = JobRunner(
            self.database, self.kinds, self.locks, lambda event: self.failed.append(event.job), workers
        )
        self.runners.append(made)
        if start:
            made.start()
        return made

    def wait_for_go(self, job: JobContext) -> Mapping[str, Any]:
        """A job that works until the test lets it end or somebody stops it."""
        self.inside.append(job.id)
        while not self.go.wait(0.01):
            if job.cancelled():
                return {"stopped": True}
        return {"stopped": False}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("flatrun_core.jobs.POLL", 0.05)
    url = sqlite_url(tmp_path / "panel.db")
    database = open_database(url, [SqliteStorage()])
    database.prepare([CORE_MIGRATIONS])
    database.bind([JobRow])
    bench = Bench(database, url)
    bench.kind("wait", bench.wait_for_go)
    bench.kind("add", lambda job: {"sum": job.payload["a"] + job.payload["b"]})
    yield bench
    bench.go.set()
    stopped = [runner.stop(10) for runner in bench.runners]
    database.close()
    assert all(stopped)


def end_of(runner: JobRunner, record: JobRecord) -> JobRecord:
    eventually(lambda: runner.get(record.id).status not in ("queued", "running"))
    return runner.get(record.id)


@pytest.fixture
def alice() -> Actor:
    """Return somebody who submits jobs."""
    return Actor("user", "7", "alice", "fr_1234")


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Return a function that waits until something is true."""
    return eventually


@pytest.fixture
def ended() -> Callable[[JobRunner, JobRecord], JobRecord]:
    """Return a function that waits for a job's end and returns its record."""
    return end_of


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that runs a script in a process of its own.

    Standard input is a pipe: a script that reads it hangs until it is killed or the tests end.
    """
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=environ, text=True, stdin=pipe, stdout=pipe))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
