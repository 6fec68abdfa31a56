"""How an event becomes the next link of the chain."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flatrun_audit.canonical import Entry, metadata_text, sealed
from flatrun_audit.hiding import hidden
from flatrun_audit.models import Event, Head
from flatrun_audit.texts import clean
from flatrun_core import ServiceKey
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.secrets import Signing

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

    def append(self, drafts: Sequence[Draft]) -> list[Entry]:
        """Write events at the end, in the caller's transaction.

        The row of the head is locked until that transaction ends, so writers of every thread and
        process go one after the other. The head is signed, so that who can write the database but has
        not the panel's key cannot make a chain of his own.
        """
        head = Head.read(lock=True)
        if head is None:
            raise RuntimeError("the chain of the audit has no head row")
        number, previous = head.last_id, head.last_hash
        entries: list[Entry] = []
        for draft in drafts:
            number += 1
            entries.append(draft.entry(number, previous))
            previous = entries[-1].hash
        Event.add(entries)
        Head.move(
            number, previous, len(entries), self._signing.sign(HEAD_PURPOSE, head_value(number, previous))
        )
        return entries


def head_value(last_id: int, last_hash: str) -> dict[str, Any]:
    """What the signature of the head is over."""
    return {"hash": last_hash, "last_id": last_id}


CHAIN: ServiceKey[Chain] = ServiceKey("audit_chain", "audit")
