"""Changes that were admitted and never ended: their panel was killed, or the event could not be written."""

import logging
import threading
from contextlib import suppress
from typing import Final

from flatrun_audit.canonical import microseconds
from flatrun_audit.chain import Chain, Draft
from flatrun_audit.drafting import INTERRUPTED, UNWRITTEN
from flatrun_audit.models import Begun, Head, OpenRequest
from flatrun_audit.process import Process, this_process
from flatrun_audit.recorder import AuditRecorder
from flatrun_core import ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.storage import PanelStore

log = logging.getLogger(__name__)

BATCH: Final = 200
FOREIGN_AFTER: Final = 24 * 3600 * 1_000_000  # microseconds
LOOK: Final = 5.0  # seconds
RECOVER_EVERY: Final = 12  # looks


class Interrupted:
    """Turns what is left among the open requests into events."""

    def __init__(self, database: PanelStore, chain: Chain, recorder: AuditRecorder) -> None:
        self._database = database
        self._chain = chain
        self._recorder = recorder

    def recover(self) -> int:
        """Write an event for each change whose process is gone; how many.

        Nothing is known of another host's processes: theirs count as gone after a day.
        """
        written = offset = 0
        while True:
            with self._database.session():
                rows = OpenRequest.oldest(BATCH, offset)
            dropped = [(row, error) for row in rows if (error := self._error(row))]
            for row, error in dropped:
                written += self._write(row, error)
            if len(rows) < BATCH:
                return written
            offset += len(rows) - len(dropped)

    def _error(self, row: Begun) -> str:
        """Why the request will never end; empty when it still may."""
        process = Process(row.host, row.pid, row.started)
        if process == this_process():
            return "" if row.request_id in self._recorder.open_requests else UNWRITTEN
        old = process.foreign and row.timestamp < microseconds(now()) - FOREIGN_AFTER
        return INTERRUPTED if old or process.gone else ""

    def _write(self, row: Begun, error: str) -> bool:
        with self._database.atomic():
            Head.read(lock=True)  # of two panels that recover at once, one finds the row
            if not OpenRequest.remove(row.request_id):
                return False
            self._chain.append([_drafted(row, error)])
        return True


def _drafted(row: Begun, error: str) -> Draft:
    return Draft(
        timestamp=row.timestamp,
        actor=Actor(row.actor_type, row.actor_id, row.actor_name, row.api_key_prefix),
        action=row.action,
        resource_type=row.resource_type,
        resource_id=row.resource_id,
        method=row.method,
        path=row.path,
        client_ip=row.client_ip,
        request_id=row.request_id,
        success=False,
        error_message=error,
    )


class Watch:
    """The thread that looks after counted refusals, open requests and an outage, beside requests."""

    def __init__(self, recorder: AuditRecorder, interrupted: Interrupted) -> None:
        self._recorder = recorder
        self._interrupted = interrupted
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Recover what a crash left, then look every few seconds."""
        self._guarded()
        self._thread = threading.Thread(target=self._main, name="flatrun-audit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and write what was counted so far."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(LOOK)
        try:
            self._recorder.sweep(everything=True)
        except Exception:
            log.exception("the refusals counted last could not be written")

    def _main(self) -> None:
        looks = 0
        while not self._stopping.wait(LOOK):
            looks += 1
            self.look(recover=looks % RECOVER_EVERY == 0)

    def look(self, *, recover: bool) -> None:
        """Once."""
        with suppress(Exception):  # it was counted, and the next look tries again
            if self._recorder.outage.lasts:
                self._recorder.write(())
                recover = True
            self._recorder.sweep()
        if recover:
            self._guarded()

    def _guarded(self) -> None:
        try:
            written = self._interrupted.recover()
        except Exception:
            log.exception("the requests that a crash cut off could not be looked for")
            return
        if written:
            log.warning("%d requests had not ended when their panel stopped", written)


WATCH: ServiceKey[Watch] = ServiceKey("audit_watch", "audit")
