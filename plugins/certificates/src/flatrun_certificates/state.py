"""What happened to each certificate, kept over restarts: attempts, waits, windows, what is served."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flatrun_certificates.backoff import wait_after
from flatrun_certificates.faults import Fault
from flatrun_certificates.models import State
from flatrun_certificates.renewal_info import Window
from flatrun_core import ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.storage import PanelStore

_LONGEST: Final = 4000


@dataclass(frozen=True, slots=True)
class Known:
    """The state of one lineage; the defaults are those of one about which nothing is known."""

    name: str
    last_attempt_at: datetime | None = None
    failures: int = 0
    next_attempt_at: datetime | None = None
    last_error: str = ""
    last_kind: str = ""
    warnings: tuple[str, ...] = ()
    served_fingerprint: str = ""
    served_checked_at: datetime | None = None
    served_problem: str = ""
    window_fingerprint: str = ""
    window: Window | None = None
    window_next_poll: datetime | None = None

    def waiting(self, moment: datetime) -> bool:
        """Whether an earlier failure still counts."""
        return self.next_attempt_at is not None and moment < self.next_attempt_at

    def window_of(self, fingerprint: str) -> Window | None:
        """The authority's window for the certificate of that fingerprint."""
        return self.window if self.window_fingerprint == fingerprint else None


class States:
    """The table, with a copy in memory, because lookups ask it for each site."""

    def __init__(self, database: PanelStore) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: dict[str, Known] | None = None
        self._changes = 0

    def all(self) -> Mapping[str, Known]:
        """Every state, by name."""
        with self._lock:
            known, changes = self._known, self._changes
        if known is not None:
            return known
        with self._database.session():
            read = {row.name: _known(row) for row in State.every()}
        with self._lock:
            # What was written while this read may not be in it.
            if self._changes == changes:
                self._known = read
        return read

    def of(self, name: str) -> Known:
        """One; the empty one for a name that is not there."""
        return self.all().get(name) or Known(name)

    def succeeded(self, name: str, warnings: Sequence[str] = ()) -> None:
        """An attempt brought a certificate: earlier failures count no more."""
        self._put(
            name,
            last_attempt_at=now(),
            failures=0,
            next_attempt_at=None,
            last_error="",
            last_kind="",
            warnings=list(warnings),
        )

    def failed(self, name: str, fault: Fault, warnings: Sequence[str] = ()) -> Known:
        """An attempt failed: the next is due after a wait, the authority's own if that is longer."""
        failures = self.of(name).failures + 1
        wait = max(wait_after(failures), fault.wait or timedelta(0))
        self._put(
            name,
            last_attempt_at=now(),
            failures=failures,
            next_attempt_at=now() + wait,
            last_error=fault.reason[:_LONGEST],
            last_kind=fault.kind[:64],
            warnings=list(warnings),
        )
        return self.of(name)

    def served(self, name: str, fingerprint: str, problem: str) -> None:
        """What the running proxy answered."""
        self._put(
            name, served_fingerprint=fingerprint, served_checked_at=now(), served_problem=problem[:_LONGEST]
        )

    def window(self, name: str, fingerprint: str, window: Window | None, next_poll: datetime) -> None:
        """What the authority said about renewal, None for nothing."""
        self._put(
            name,
            window_fingerprint=fingerprint,
            window_start=window.start if window else None,
            window_end=window.end if window else None,
            window_explanation=window.explanation if window else "",
            window_next_poll=next_poll,
        )

    def drop(self, names: Collection[str]) -> None:
        """Forget these."""
        with self._database.atomic():
            State.drop(names)
        self._forget()

    def tidy(self, kept: Collection[str]) -> None:
        """Forget the others, except while a failure of theirs still counts."""
        moment = now()
        gone = [one.name for one in self.all().values() if one.name not in kept and not one.waiting(moment)]
        if gone:
            self.drop(gone)

    def _put(self, name: str, **values: Any) -> None:
        with self._database.atomic():
            State.put(name, **values)
        self._forget()

    def _forget(self) -> None:
        with self._lock:
            self._known = None
            self._changes += 1


def _known(row: Any) -> Known:
    window = None
    if row.window_start is not None and row.window_end is not None:
        poll = row.window_next_poll or row.window_end
        window = Window(row.window_start, row.window_end, row.window_explanation, poll)
    return Known(
        name=row.name,
        last_attempt_at=row.last_attempt_at,
        failures=row.failures,
        next_attempt_at=row.next_attempt_at,
        last_error=row.last_error,
        last_kind=row.last_kind,
        warnings=tuple(row.warnings),
        served_fingerprint=row.served_fingerprint,
        served_checked_at=row.served_checked_at,
        served_problem=row.served_problem,
        window_fingerprint=row.window_fingerprint,
        window=window,
        window_next_poll=row.window_next_poll,
    )


STATES: Final[ServiceKey[States]] = ServiceKey("certificates.states", "certificates")
