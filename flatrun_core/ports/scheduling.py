"""Work outside a request: timers, jobs and the locks that order them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from flatrun_core.ports.auth import Actor
from flatrun_core.services import ServiceKey


@dataclass(frozen=True, slots=True)
class Timer:
    """Periodic work, run in one process only; ``run`` should be short or submit a job."""

    name: str
    every: timedelta
    run: Callable[[], object]
    first_after: timedelta | None = None


class JobContext(Protocol):
    """What a running job may use."""

    id: str
    payload: Mapping[str, Any]
    actor: Actor

    def progress(self, percent: int, message: str = "") -> None:
        """Record how far the job is; 0 to 100."""

    def cancelled(self) -> bool:
        """Whether the job was asked to stop; long work asks between steps."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of background work.

    ``run`` returns a JSON object as the result. ``recover`` gets the record of a job that a crash
    cut off, before it is marked failed, and puts back what was half done.
    """

    name: str
    run: Callable[[JobContext], Mapping[str, Any] | None]
    recover: Callable[["JobRecord"], None] | None = None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The persisted state of a job; ``status`` is queued, running, completed, failed or cancelled."""

    id: str
    kind: str
    status: str
    deployment: str | None
    payload: Mapping[str, Any]
    result: Mapping[str, Any]
    error: str
    progress: int
    message: str
    actor: Actor
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobFailed:
    """Event: a job ended in failure."""

    job: JobRecord


class Jobs(Protocol):
    """Background jobs with a state that survives a restart."""

    def submit(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        deployment: str | None = None,
        exclusive: str | None = None,
        actor: Actor,
    ) -> JobRecord:
        """Queue a job.

        409 ``JOB_RUNNING`` with ``job_id`` while one with the same ``exclusive`` is queued or running.
        A job with a ``deployment`` waits for that deployment's lock and holds it while it works.
        """

    def get(self, job_id: str) -> JobRecord:
        """One record; 404 ``JOB_NOT_FOUND``."""

    def list(
        self, *, kinds: Sequence[str] = (), deployment: str | None = None, limit: int = 100
    ) -> "list[JobRecord]":
        """Newest first."""

    def cancel(self, job_id: str) -> JobRecord:
        """Take a queued job out; ask a running one to stop."""


JOBS: ServiceKey[Jobs] = ServiceKey("jobs", "core")

LOCK_ORDER = ("settings", "deployment", "certificate", "proxy", "database")


class Locks(Protocol):
    """Named locks taken in the order of ``LOCK_ORDER``, never backwards."""

    def hold(self, kind: str, name: str = "", wait: float = 0) -> AbstractContextManager[None]:
        """Hold a lock; re-entrant for its thread, first come first served.

        Busy beyond ``wait`` seconds: 409 ``OPERATION_IN_PROGRESS``. A wrong order raises
        ``RuntimeError`` at once.
        """


LOCKS: ServiceKey[Locks] = ServiceKey("locks", "core")
