"""Background jobs: one table, a bounded pool of threads, and what a crash cut off."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from peewee import AutoField, BooleanField, CharField, IntegerField, IntegrityError, Model, TextField

from flatrun_core.db import JsonField, MigrationSet, PanelDatabase, UtcDateTimeField, now
from flatrun_core.errors import Conflict, FlatrunError, NotFound, Unavailable
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.scheduling import JobFailed, JobKind, JobRecord, Jobs, Locks

log = logging.getLogger(__name__)

INTERRUPTED: Final = "interrupted by a restart"
POLL: Final = 2.0  # seconds between looks for what another process queued, or for a database that is away
FLUSH: Final = 0.25  # seconds between two writes of one job's progress
KEEP: Final = timedelta(days=30)
TEXT_LIMIT: Final = 4000  # characters of an error or a message


class JobRow(Model):
    """A job. ``exclusive`` is set while it is queued or running, and the table takes each value once."""

    id = AutoField()
    kind = CharField()
    status = CharField(index=True)
    deployment = CharField(null=True, index=True)
    exclusive = CharField(null=True, unique=True)
    payload = JsonField()
    result = JsonField(default=dict)
    error = TextField(default="")
    progress = IntegerField(default=0)
    message = TextField(default="")
    cancel_requested = BooleanField(default=False)
    actor = JsonField()
    created_at = UtcDateTimeField(default=now)
    started_at = UtcDateTimeField(null=True)
    finished_at = UtcDateTimeField(null=True)

    class Meta:
        """Where peewee looks for it."""

        table_name = "core_job"

    @classmethod
    def find(cls, job_id: str) -> "JobRow":
        """The row of a public id; 404 ``JOB_NOT_FOUND``."""
        number = int(job_id) if re.fullmatch(r"[0-9]{1,18}", job_id) else -1
        row: JobRow | None = cls.get_or_none(cls.id == number)
        if row is None:
            raise NotFound(f"No job '{job_id[:40]}'", code="JOB_NOT_FOUND")
        return row

    @classmethod
    def of_status(cls, status: str, kinds: Mapping[str, JobKind]) -> Iterable["JobRow"]:
        """Jobs of these kinds in a status, oldest first."""
        return cls.select().where(cls.status == status, cls.kind.in_(list(kinds))).order_by(cls.id)

    def move(self, expected: str, **values: Any) -> bool:
        """Change the row if it still has the expected status; whether it had."""
        return bool(JobRow.update(**values).where(JobRow.id == self.id, JobRow.status == expected).execute())

    def record(self) -> JobRecord:
        """The row as others see it."""
        values = {name: getattr(self, name) for name in JobRecord.__dataclass_fields__}
        return JobRecord(**values | {"id": str(self.id), "actor": Actor(**self.actor)})


CORE_MIGRATIONS: Final = MigrationSet("core", Path(__file__).with_name("migrations"), (JobRow,))


class _Running:
    """The ``JobContext`` of one job at work."""

    def __init__(self, row: JobRow, database: PanelDatabase, stopping: threading.Event) -> None:
        self.id = str(row.id)
        self.payload: Mapping[str, Any] = row.payload
        self.actor = Actor(**row.actor)
        self.asked = threading.Event()  # somebody cancelled it
        self.obeyed = False  # it was told to stop and knows
        self.at: dict[str, Any] = {"progress": 0, "message": ""}
        self._row, self._database, self._stopping = row, database, stopping
        self._written = self._looked = 0.0

    def progress(self, percent: int, message: str = "") -> None:
        """Record how far the job is; written a few times a second at most."""
        self.at = {"progress": max(0, min(100, int(percent))), "message": plain(message)}
        if time.monotonic() - self._written >= FLUSH:
            self._written = time.monotonic()
            with self._database.session():
                self._row.move("running", **self.at)

    def cancelled(self) -> bool:
        """Whether to stop: somebody asked, here or in another process, or the panel ends."""
        if not self.asked.is_set() and time.monotonic() - self._looked >= 1:
            self._looked = time.monotonic()
            with self._database.session():
                if JobRow.find(self.id).cancel_requested:
                    self.asked.set()
        self.obeyed = self.asked.is_set() or self._stopping.is_set()
        return self.obeyed


class JobRunner(Jobs):
    """Jobs in the panel's database, worked off by the threads that ``start`` makes.

    Without ``start`` ``submit`` only queues, and the process that serves finds the job within
    seconds. A job with a deployment waits for its lock and holds it while it works. Ids are
    decimal numbers. Finished jobs are kept for 30 days.
    """

    def __init__(
        self,
        database: PanelDatabase,
        kinds: Mapping[str, JobKind],
        locks: Locks,
        on_failed: Callable[[JobFailed], None],
        workers: int = 4,
    ) -> None:
        self._database, self._kinds, self._locks, self._on_failed = database, kinds, locks, on_failed
        self._stopping = threading.Event()
        self._work = threading.Semaphore(0)
        self._running: dict[str, _Running] = {}
        names = [f"flatrun-job-{number}" for number in range(workers)]
        self._threads = [threading.Thread(target=self._loop, name=name, daemon=True) for name in names]

    def submit(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        deployment: str | None = None,
        exclusive: str | None = None,
        actor: Actor,
    ) -> JobRecord:
        """See the port. Inside a transaction of the caller the job exists once that commits."""
        if kind not in self._kinds:
            raise LookupError(f"no active plugin registers jobs of the kind '{kind}'")
        values = {"kind": kind, "status": "queued", "deployment": deployment, "exclusive": exclusive}
        with self._database.session():
            row = self._insert(values | {"payload": dict(payload), "actor": asdict(actor)})
            self._database.peewee.after_commit(self._work.release)
            return row.record()

    def _insert(self, values: Mapping[str, Any]) -> JobRow:
        while True:
            try:
                with self._database.peewee.atomic():
                    row: JobRow = JobRow.create(**values)
                    return row
            except IntegrityError:
                if values["exclusive"] is None:
                    raise
                other = JobRow.get_or_none(JobRow.exclusive == values["exclusive"])
                if other is not None:  # else it ended between the two statements, and the place is free
                    message = "A job that excludes this one is queued or running"
                    raise Conflict(message, code="JOB_RUNNING", job_id=str(other.id)) from None

    def get(self, job_id: str) -> JobRecord:
        """See the port."""
        with self._database.session():
            return JobRow.find(job_id).record()

    def list(
        self, *, kinds: Sequence[str] = (), deployment: str | None = None, limit: int = 100
    ) -> "list[JobRecord]":
        """See the port."""
        query = JobRow.select().order_by(JobRow.id.desc()).limit(limit)
        if kinds:
            query = query.where(JobRow.kind.in_(list(kinds)))
        if deployment is not None:
            query = query.where(JobRow.deployment == deployment)
        with self._database.session():
            return [row.record() for row in query]

    def cancel(self, job_id: str) -> JobRecord:
        """See the port. A finished job is answered as it is."""
        with self._database.session():
            row = JobRow.find(job_id)
            if not row.move("queued", status="cancelled", exclusive=None, finished_at=now()):
                row.move("running", cancel_requested=True)
            running = self._running.get(str(row.id))
            if running is not None:
                running.asked.set()
            return JobRow.find(job_id).record()

    def start(self) -> None:
        """Start the threads; once."""
        for thread in self._threads:
            thread.start()

    def run_queued(self) -> None:
        """Do every queued job in this thread, the oldest first."""
        while self._next():
            pass

    def stop(self, timeout: float = 30) -> bool:
        """Take no more jobs and tell the running ones to stop; whether all did within ``timeout`` seconds.

        One that goes on is found by ``recover`` at the next start.
        """
        self._stopping.set()
        self._work.release(len(self._threads))
        until = time.monotonic() + timeout
        started = [thread for thread in self._threads if thread.ident]
        for thread in started:
            thread.join(max(0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in started)

    def recover(self) -> Sequence[JobRecord]:
        """Before ``start``: give jobs found running to their kind, then mark them failed; returns them.

        Only in the one process that works jobs off. Jobs of kinds that are not here (a disabled
        plugin) wait until they are.
        """
        with self._database.session():
            newest = JobRow.select(JobRow.id).order_by(JobRow.id.desc()).limit(1)  # kept: no id comes twice
            JobRow.delete().where(JobRow.finished_at < now() - KEEP, JobRow.id.not_in(newest)).execute()
            rows = list(JobRow.of_status("running", self._kinds))
        for row in rows:
            log.warning("job %s (%s) was %s", row.id, row.kind, INTERRUPTED)
            self._finish(row, "failed", error=self._put_back(row))
        return [self.get(str(row.id)) for row in rows]

    def _put_back(self, row: JobRow) -> str:
        recover = self._kinds[row.kind].recover
        try:
            if recover is not None:
                with self._database.session():
                    recover(row.record())
        except Exception as exc:
            log.exception("job %s (%s) could not be recovered", row.id, row.kind)
            return f"{INTERRUPTED}; putting things back failed: {exc}"
        return INTERRUPTED

    def _loop(self) -> None:
        said = False
        while not self._stopping.is_set():
            try:
                while not self._stopping.is_set() and self._next():
                    said = False
            except Exception:
                log.log(logging.DEBUG if said else logging.ERROR, "looking for jobs failed", exc_info=True)
                said = True
            self._work.acquire(timeout=POLL)

    def _next(self) -> bool:
        """Do the oldest queued job; False when there is none."""
        with self._database.session():
            row = next(iter(JobRow.of_status("queued", self._kinds)), None)
            mine = row is not None and row.move("queued", status="running", started_at=now())
        if row is None or not mine:
            return row is not None
        running = self._running[str(row.id)] = _Running(row, self._database, self._stopping)
        try:
            self._do(row, running)
        finally:
            del self._running[running.id]
        return True

    def _do(self, row: JobRow, running: _Running) -> None:
        error, result = "", {}
        try:
            with self._database.session(), ExitStack() as lock:
                if not self._locked(row, running, lock):
                    self._give_up(row, running)
                    return
                result = dict(self._kinds[row.kind].run(running) or {})
                JsonField().db_value(result)
        except Exception as exc:
            error, result = plain(str(exc)) or type(exc).__name__, {}
            unexpected = not isinstance(exc, FlatrunError)
            log.error("job %s (%s) failed: %s", row.id, row.kind, error, exc_info=unexpected)
        if running.obeyed and running.asked.is_set():
            self._finish(row, "cancelled", error=error, result=result, **running.at)
        elif running.obeyed or error:
            self._finish(row, "failed", error=error or INTERRUPTED, result=result, **running.at)
        else:
            self._finish(row, "completed", result=result, **running.at | {"progress": 100})

    def _locked(self, row: JobRow, running: _Running, stack: ExitStack) -> bool:
        """Take the deployment's lock; False when the job was told to stop before it was free."""
        while row.deployment is not None:
            if running.cancelled():
                return False
            try:
                stack.enter_context(self._locks.hold("deployment", row.deployment, wait=1))
                break
            except Conflict:
                continue
        return True

    def _give_up(self, row: JobRow, running: _Running) -> None:
        """Nothing was done yet: cancelled, or back into the queue when the panel ends."""
        if running.asked.is_set():
            self._finish(row, "cancelled")
        else:
            row.move("running", status="queued", started_at=None)

    def _finish(self, row: JobRow, status: str, *, error: str = "", **values: Any) -> None:
        """Write the end of a job, however long the database takes to be there for it."""
        values |= {"status": status, "error": plain(error), "exclusive": None, "finished_at": now()}
        while True:
            try:
                with self._database.session():
                    moved = row.move("running", **values)
                    record = JobRow.find(str(row.id)).record()
                break
            except Unavailable:
                if self._stopping.wait(POLL):
                    return
        if moved and status == "failed":
            self._on_failed(JobFailed(record))


def plain(text: str) -> str:
    """Text as every database takes it: no NUL, no half characters, not endless."""
    return text[:TEXT_LIMIT].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
