"""How an event becomes the next link of the chain."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flatrun_audit.canonical import ZERO, Entry, metadata_text, microseconds, sealed
from flatrun_audit.ends import End
from flatrun_audit.hiding import hidden
from flatrun_audit.models import Event, Head
from flatrun_audit.repairs import ACTION, Repair, locked_end
from flatrun_audit.texts import clean
from flatrun_core import ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.auth import SYSTEM, Actor
from flatrun_core.ports.secrets import Signing

log = logging.getLogger(__name__)

SHORT, NAME, LONG = 32, 100, 1000
HEAD_PURPOSE: Final = "audit.head"


@dataclass(frozen=True, slots=True)
class Draft:
    """What an event tells, before it has its place in the chain; texts may still be of any length.

    ``timestamp`` is in microseconds since the epoch. ``request_body`` is redacted text.
    """

    timestamp: int
    actor: Actor
    action: str
    resource_type: str
    resource_id: str = ""
    method: str = ""
    path: str = ""
    client_ip: str = ""
    user_agent: str = ""
    request_id: str = ""
    request_body: str = ""
    response_status: int = 0
    response_time_ms: int = 0
    success: bool = True
    error_message: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, number: int, prev_hash: str) -> Entry:
        """The event with its place in the chain."""
        return sealed(
            Entry(
                action=clean(self.action, NAME),
                actor_id=clean(hidden(self.actor.id), NAME),
                actor_name=clean(hidden(self.actor.name), NAME),
                actor_type=clean(self.actor.type, SHORT),
                api_key_prefix=clean(self.actor.key_prefix, SHORT),
                client_ip=clean(self.client_ip, 64),
                error_message=clean(hidden(self.error_message), LONG),
                event_id=str(uuid.uuid4()),
                hash="",
                id=number,
                metadata=metadata_text(self.metadata),
                method=clean(self.method, 16),
                path=clean(hidden(self.path), LONG),
                prev_hash=prev_hash,
                request_body=self.request_body,
                request_id=clean(self.request_id, 64),
                resource_id=clean(hidden(self.resource_id), 255),
                resource_type=clean(self.resource_type, NAME),
                response_status=self.response_status,
                response_time_ms=max(0, min(self.response_time_ms, 2**53)),
                success=self.success,
                timestamp=self.timestamp,
                user_agent=clean(hidden(self.user_agent), 255),
            )
        )


class Chain:
    """The one end of the chain, wherever writers are."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing
        self._own: End | None = None  # the head as this process left it, whose signature needs no look

    def append(self, drafts: Sequence[Draft]) -> list[Entry]:
        """Write events at the end, in the caller's transaction; returns those that were written.

        The row of the head is locked until that transaction ends, so writers of every thread and
        process go one after the other. The head is signed, so that who can write the database but has
        not the panel's key cannot make a chain of his own. What somebody did to the tables does not
        keep the panel from writing: the first event then tells of it, and is linked to the last event
        of the panel's own.
        """
        head, repair = locked_end(self._is_signed)
        number, previous = head.last_id, head.last_hash
        if repair is not None:
            number = repair.last
            drafts = [_told(repair), *drafts]
        entries: list[Entry] = []
        for draft in drafts:
            number += 1
            entries.append(draft.entry(number, previous))
            previous = entries[-1].hash
        Event.add(entries)
        signature = self._signing.sign(HEAD_PURPOSE, head_value(number, previous))
        self._own = End(number, previous, head.events + len(entries), signature)
        Head.put(self._own)
        return entries

    def _is_signed(self, head: End) -> bool:
        if self._own is not None and head[:4] == self._own[:4]:
            return True
        if (head.last_id, head.last_hash) == (0, ZERO):
            return True  # nothing was written yet
        return bool(
            self._signing.read(HEAD_PURPOSE, head.signature) == head_value(head.last_id, head.last_hash)
        )


def _told(repair: Repair) -> Draft:
    log.error("somebody wrote into the tables of the audit: %s", repair.sentence())
    return Draft(
        timestamp=microseconds(now()),
        actor=SYSTEM.actor,
        action=ACTION,
        resource_type="audit",
        success=False,
        error_message=repair.sentence(),
        metadata=repair.facts(),
    )


def head_value(last_id: int, last_hash: str) -> dict[str, Any]:
    """What the signature of the head is over."""
    return {"hash": last_hash, "last_id": last_id}


CHAIN: ServiceKey[Chain] = ServiceKey("audit_chain", "audit")
