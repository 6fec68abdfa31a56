"""Background jobs: one table, a bounded pool of threads, and what a crash cut off."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from peewee import AutoField, BooleanField, CharField, IntegerField, IntegrityError, Model, TextField

from flatrun_core.db import JsonField, MigrationSet, PanelDatabase, UtcDateTimeField, now
from flatrun_core.errors import Conflict, FlatrunError, NotFound
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.scheduling import JobFailed, JobKind, JobRecord, Jobs, Locks

log = logging.getLogger(__name__)

INTERRUPTED = "interrupted by a restart"
POLL = 2.0  # seconds between looks for jobs that another process queued
FLUSH = 0.25  # seconds between two writes of a job's progress
KEEP = timedelta(days=30)
TEXT_LIMIT = 4000  # characters of an error or a message


class JobRow(Model):
    """A job. ``exclusive`` is set while it is queued or running, and the table allows it once."""

    id = AutoField()
    kind = CharField()
    status = CharField(index=True)
    deployment = CharField(null=True, index=True)
    exclusive = CharField(null=True, unique=True)
    payload = JsonField()
    result = JsonField()
    error = TextField(default="")
    progress = IntegerField(default=0)
    message = TextField(default="")
    cancel_requested = BooleanField(default=False)
    actor = JsonField()
    created_at = UtcDateTimeField()
    started_at = UtcDateTimeField(null=True)
    finished_at = UtcDateTimeField(null=True)

    class Meta:
        table_name = "core_job"

    @classmethod
    def find(cls, job_id: str) -> "JobRow":
        """The row of a public id; 404 ``JOB_NOT_FOUND``."""
        number = int(job_id) if job_id.isascii() and job_id.isdigit() and len(job_id) < 19 else -1
        row: JobRow | None = cls.get_or_none(cls.id == number)
        if row is None:
            raise NotFound(f"No job '{job_id[:40]}'", code="JOB_NOT_FOUND")
        return row

    def move(self, *expected: str, **values: Any) -> bool:
        """Change the row if its status is still one of those expected; whether it was."""
        query = JobRow.update(**values).where(JobRow.id == self.id, JobRow.status.in_(expected))
        return bool(query.execute())

    def record(self) -> JobRecord:
        """The row as others see it."""
        return JobRecord(
            id=str(self.id),
            kind=self.kind,
            status=self.status,
            deployment=self.deployment,
            payload=self.payload,
            result=self.result,
            error=self.error,
            progress=self.progress,
            message=self.message,
            actor=Actor(**self.actor),
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
        )


CORE_MIGRATIONS = MigrationSet("core", Path(__file__).with_name("migrations"), (JobRow,))


class _Running:
    """The ``JobContext`` of one job."""

    def __init__(self, row: JobRow, database: PanelDatabase, stopping: threading.Event) -> None:
        self.id = str(row.id)
        self.payload: Mapping[str, Any] = row.payload
        self.actor = Actor(**row.actor)
        self.asked = threading.Event()
        self.obeyed = False
        self.percent, self.message = 0, ""
        self._row, self._database, self._stopping = row, database, stopping
        self._written = self._looked = 0.0

    def progress(self, percent: int, message: str = "") -> None:
        """Record how far the job is; written a few times a second at most."""
        self.percent, self.message = max(0, min(100, int(percent))), plain(message)
        if time.monotonic() - self._written >= FLUSH:
            self._written = time.monotonic()
            with self._database.session():
                self._row.move("running", progress=self.percent, message=self.message)

    def cancelled(self) -> bool:
        """Whether to stop: somebody asked, here or in another process, or the panel is ending."""
        if not self.asked.is_set() and time.monotonic() - self._looked >= 1:
            self._looked = time.monotonic()
            with self._database.session():
                if JobRow.find(self.id).cancel_requested:
                    self.asked.set()
        self.obeyed = self.asked.is_set() or self._stopping.is_set()
        return self.obeyed


class JobRunner(Jobs):
    """Jobs in the panel's database, worked off by threads that ``start`` makes.

    Without ``start`` (a command) ``submit`` only queues: the process that serves finds the job
    within seconds. A job that names a deployment holds its lock while it works, and waits for it.
    Ids are decimal numbers.
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
        self._workers = workers
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._work = threading.Semaphore(0)
        self._running: dict[str, _Running] = {}

    # --- the port -------------------------------------------------------------------------------

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
        values = {
            "kind": kind,
            "status": "queued",
            "deployment": deployment,
            "exclusive": exclusive,
            "payload": dict(payload),
            "result": {},
            "actor": asdict(actor),
            "created_at": now(),
        }
        with self._database.session():
            row = self._insert(values)
            self._database.peewee.after_commit(self._work.release)
            return row.record()

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
            ended = {"status": "cancelled", "exclusive": None, "finished_at": now()}
            if not row.move("queued", cancel_requested=True, **ended):
                row.move("running", cancel_requested=True)
            running = self._running.get(job_id)
            if running is not None:
                running.asked.set()
            return JobRow.find(job_id).record()

    def _insert(self, values: Mapping[str, Any]) -> JobRow:
        while True:
            try:
                with self._database.peewee.atomic():
                    row: JobRow = JobRow.create(**values)
                    return row
            except IntegrityError:
                other = JobRow.get_or_none(JobRow.exclusive == values["exclusive"])
                if values["exclusive"] is None:
                    raise
                if other is not None:
                    message = "A job that excludes this one is queued or running"
                    raise Conflict(message, code="JOB_RUNNING", job_id=str(other.id)) from None
                # It ended between the two statements: the place is free.

    # --- the pool -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads; once."""
        for number in range(self._workers):
            thread = threading.Thread(target=self._loop, name=f"flatrun-job-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout: float = 30) -> bool:
        """Take no more jobs and ask the running ones to stop; whether all did within ``timeout`` seconds.

        What does not stop is found by ``recover`` at the next start.
        """
        self._stopping.set()
        self._work.release(max(1, len(self._threads)))
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def recover(self) -> "list[JobRecord]":
        """At start-up: give jobs found running to their kind and mark them failed; which they were.

        Jobs of kinds that are not here (a disabled plugin) wait until they are.
        """
        with self._database.session():
            self._prune()
            rows = list(JobRow.select().where(JobRow.status == "running", JobRow.kind.in_(list(self._kinds))))
        found = []
        for row in rows:
            error = INTERRUPTED
            recover = self._kinds[row.kind].recover
            try:
                if recover is not None:
                    with self._database.session():
                        recover(row.record())
            except Exception as exc:  # noqa: BLE001 - a plugin's code may raise anything
                log.exception("job %s (%s) could not be recovered", row.id, row.kind)
                error = f"{INTERRUPTED}; putting things back failed: {exc}"
            log.warning("job %s (%s) was %s", row.id, row.kind, INTERRUPTED)
            self._finish(row, "failed", error=error)
            found.append(self.get(str(row.id)))
        return found

    def _prune(self) -> None:
        newest = JobRow.select(JobRow.id).order_by(JobRow.id.desc()).limit(1)  # kept, so that no id comes twice
        JobRow.delete().where(JobRow.finished_at < now() - KEEP, JobRow.id.not_in(newest)).execute()

    def _loop(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                while not self._stopping.is_set() and self._next():
                    pass
                failing = False
            except Exception:
                log.log(logging.DEBUG if failing else logging.ERROR, "looking for jobs failed", exc_info=True)
                failing = True
            self._work.acquire(timeout=POLL)

    def _next(self) -> bool:
        """Do the oldest queued job, if there is one."""
        with self._database.session():
            query = JobRow.select().where(JobRow.status == "queued", JobRow.kind.in_(list(self._kinds)))
            row = query.order_by(JobRow.id).first()
            if row is None:
                return False
            if not row.move("queued", status="running", started_at=now()):
                return True
        running = self._running[str(row.id)] = _Running(row, self._database, self._stopping)
        try:
            self._do(row, running)
        finally:
            del self._running[running.id]
        return True

    def _do(self, row: JobRow, running: _Running) -> None:
        try:
            with self._database.session(), self._deployment(row, running) as held:
                if not held:
                    self._give_up(row, running)
                    return
                result = dict(self._kinds[row.kind].run(running) or {})
            JsonField().db_value(result)
        except Exception as exc:
            if not isinstance(exc, FlatrunError):
                log.exception("job %s (%s) failed", row.id, row.kind)
            self._end(row, running, error=str(exc) or type(exc).__name__)
        else:
            self._end(row, running, result=result)

    @contextmanager
    def _deployment(self, row: JobRow, running: _Running) -> Iterator[bool]:
        """Hold the deployment's lock; False when the job was asked to stop before it was free."""
        if row.deployment is None:
            yield True
            return
        while not running.cancelled():
            lock = self._locks.hold("deployment", row.deployment, wait=1)
            try:
                lock.__enter__()
            except Conflict:
                continue
            try:
                yield True
            finally:
                lock.__exit__(None, None, None)
            return
        yield False

    def _give_up(self, row: JobRow, running: _Running) -> None:
        """Nothing was done yet: cancelled, or back into the queue when the panel ends."""
        if running.asked.is_set():
            self._finish(row, "cancelled")
        else:
            row.move("running", status="queued", started_at=None)

    def _end(self, row: JobRow, running: _Running, *, error: str = "", result: Mapping[str, Any] | None = None) -> None:
        values: dict[str, Any] = {"message": running.message, "progress": running.percent, "result": result or {}}
        if running.obeyed and running.asked.is_set():
            self._finish(row, "cancelled", error=error, **values)
        elif running.obeyed or error:
            self._finish(row, "failed", error=error or INTERRUPTED, **values)
        else:
            self._finish(row, "completed", **values | {"progress": 100})

    def _finish(self, row: JobRow, status: str, *, error: str = "", **values: Any) -> None:
        """Write the end of a job, however long the database takes to be there for it."""
        values |= {"status": status, "error": plain(error), "exclusive": None, "finished_at": now()}
        while True:
            try:
                with self._database.session():
                    row.move("running", **values)
                break
            except FlatrunError as exc:
                log.error("the end of job %s cannot be written yet: %s", row.id, exc)
                if self._stopping.wait(POLL):
                    return
        if status == "failed":
            with self._database.session():
                record = JobRow.find(str(row.id)).record()
            self._on_failed(JobFailed(record))


def plain(text: str) -> str:
    """Text as every database takes it: no NUL, no half characters, not endless."""
    return text[:TEXT_LIMIT].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
