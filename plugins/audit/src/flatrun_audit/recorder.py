"""Writes the record: one event for each request that deserves one, before its answer leaves."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flatrun_audit import drafting
from flatrun_audit.canonical import microseconds
from flatrun_audit.chain import Chain, Draft
from flatrun_audit.models import OpenRequest
from flatrun_audit.outage import Outage, unavailable
from flatrun_audit.process import this_process
from flatrun_audit.settings import REFUSE, AuditSettings
from flatrun_audit.windows import RefusalWindows
from flatrun_core import Failed, ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.auth import RecordedEvent, RecordedOutcome, RecordedRequest
from flatrun_core.ports.storage import PanelStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A change that ``begin`` let go ahead; ``written`` tells whether it stands among the open ones."""

    request_id: str
    written: bool


class AuditRecorder:
    """The recorder ``audit``. Safe to call from any thread; see ``Recorder`` of the core."""

    name = "audit"

    def __init__(self, database: PanelStore, chain: Chain, settings: Callable[[], AuditSettings]) -> None:
        self._database = database
        self._chain = chain
        self._settings = settings
        self.outage = Outage()
        self.windows = RefusalWindows()
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._refused: set[str] = set()

    @property
    def open_requests(self) -> frozenset[str]:
        """Ids of the changes under way in this process."""
        with self._lock:
            return frozenset(self._open)

    def begin(self, request: RecordedRequest) -> Admitted | None:
        """See the port; 503 ``AUDIT_UNAVAILABLE`` while nothing can be written."""
        settings = self._settings()
        if not settings.enabled:
            return None
        try:
            return self._begin(request, refuse=settings.on_failure == REFUSE)
        except Exception:
            with self._lock:
                self._refused.add(request.request_id)
            raise

    def _begin(self, request: RecordedRequest, *, refuse: bool) -> Admitted:
        if refuse:
            self.outage.admit(lambda: self.write(()))
        with self._lock:
            self._open.add(request.request_id)
        try:
            with self._database.atomic():
                OpenRequest.add(drafting.begun(request, this_process()))
        except Exception as exc:
            self._failed(exc, lost=0)
            if not refuse:
                return Admitted(request.request_id, written=False)
            with self._lock:
                self._open.discard(request.request_id)
            raise unavailable() from exc
        return Admitted(request.request_id, written=True)

    def finish(self, token: Any, request: RecordedRequest, outcome: RecordedOutcome) -> None:
        """See the port; 500 ``AUDIT_FAILED`` when the event cannot be written and must be."""
        settings = self._settings()
        if token is None and not settings.enabled:
            return
        if not drafting.worth_recording(request, outcome, settings):
            return
        if self._was_refused(request.request_id) and self.outage.lose():
            return
        draft = drafting.drafted(request, outcome, settings)
        ended = request.request_id if token is not None and token.written else ""
        countable = drafting.is_countable(request, outcome, admitted=token is not None)
        try:
            if countable:
                self._count(draft, request.route, ended)
            else:
                self.write((draft,), ended=ended)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the event is not written
            if request.mutation or (request.secret and outcome.status not in drafting.REFUSED):
                _give_up(settings, exc)
        finally:
            with self._lock:
                self._open.discard(request.request_id)

    def _count(self, draft: Draft, route: str, ended: str) -> None:
        """Write the first of many; of the others only their number is kept."""
        if self.windows.due:
            with suppress(Exception):  # counted as lost; the request at hand has nothing to do with it
                self.sweep()
        if not self.windows.first(draft, route):
            if ended:
                self.write((), ended=ended)
            return
        try:
            self.write((draft,), ended=ended)
        except Exception:
            self.windows.forget(draft, route)
            raise

    def _was_refused(self, request_id: str) -> bool:
        """Whether ``begin`` refused this request; forgets it."""
        with self._lock:
            refused = request_id in self._refused
            self._refused.discard(request_id)
        return refused

    def note(self, event: RecordedEvent) -> None:
        """See the port; the event goes into the caller's transaction, if there is one."""
        settings = self._settings()
        if not settings.enabled:
            return
        draft = drafting.noted(event, microseconds(now()))
        try:
            with self._database.atomic():
                self._chain.append((draft,))
        except Exception as exc:  # noqa: BLE001 - as above
            self._failed(exc, lost=1)
            _give_up(settings, exc)

    def write(self, drafts: Sequence[Draft], *, ended: str = "") -> None:
        """Write events in one transaction, before them what was lost since the last one.

        ``ended`` takes a request out of the open ones. Whatever is raised has been counted.
        """
        told = self.outage.take()
        try:
            with self._database.atomic():
                if ended:
                    OpenRequest.remove(ended)
                self._chain.append([*([told[0]] if told else ()), *drafts])
        except Exception as exc:
            self._failed(exc, lost=len(drafts))
            raise
        if told:
            self.outage.over(told[1])
            log.warning("the audit can be written again; %d events could not be", told[1])

    def sweep(self, *, everything: bool = False) -> None:
        """Write how many refusals were counted in the minutes that are over, or in all."""
        drafts = self.windows.closed(everything=everything)
        if drafts:
            self.write(drafts)

    def _failed(self, exc: Exception, *, lost: int) -> None:
        began = self.outage.failed(lost=lost)
        loud = began or self._settings().on_failure != REFUSE
        log.log(logging.ERROR if loud else logging.DEBUG, "the audit cannot be written: %s", _reason(exc))


def _give_up(settings: AuditSettings, exc: Exception) -> None:
    if settings.on_failure == REFUSE:
        raise Failed("The request could not be recorded in the audit", code="AUDIT_FAILED") from exc


def _reason(exc: Exception) -> str:
    return f"{exc} ({exc.__cause__})" if exc.__cause__ else str(exc) or type(exc).__name__


RECORDER: ServiceKey[AuditRecorder] = ServiceKey("audit_recorder", "audit")
