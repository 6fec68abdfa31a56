"""The one text of an event that its hash is taken over; byte for byte as docs/audit.md says."""

import functools
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, NamedTuple

from flatrun_audit.hiding import hidden

ZERO: Final = "0" * 64
"""What the first event has in place of the hash before it."""

EXACT: Final = 2**53
MAX_METADATA: Final = 20_000
MAX_DEPTH: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Entry(NamedTuple):
    """One event as it is kept, its fields in the order of their names.

    ``timestamp`` is in microseconds since the epoch; ``metadata`` is canonical JSON.
    """

    action: str
    actor_id: str
    actor_name: str
    actor_type: str
    api_key_prefix: str
    client_ip: str
    error_message: str
    event_id: str
    hash: str
    id: int
    metadata: str
    method: str
    path: str
    prev_hash: str
    request_body: str
    request_id: str
    resource_id: str
    resource_type: str
    response_status: int
    response_time_ms: int
    success: bool
    timestamp: int
    user_agent: str


def hash_of(entry: Entry) -> str:
    """SHA-256, in hex, over the canonical text without ``hash``."""
    return hashlib.sha256((_front(entry) + _back(entry)).encode("ascii")).hexdigest()


def sealed(entry: Entry) -> Entry:
    """The event with its hash filled in."""
    return entry._replace(hash=hash_of(entry))


def text_of(entry: Entry) -> str:
    """The event object of the API as JSON: the canonical text with ``hash`` in its place."""
    return f'{_front(entry)}"hash":{quoted(entry.hash)},{_back(entry)}'


def _front(entry: Entry) -> str:
    return (
        f'{{"action":{quoted(entry.action)},"actor_id":{quoted(entry.actor_id)},'
        f'"actor_name":{quoted(entry.actor_name)},"actor_type":{quoted(entry.actor_type)},'
        f'"api_key_prefix":{quoted(entry.api_key_prefix)},"client_ip":{quoted(entry.client_ip)},'
        f'"error_message":{quoted(entry.error_message)},"event_id":{quoted(entry.event_id)},'
    )


def _back(entry: Entry) -> str:
    return (
        f'"id":{entry.id:d},"metadata":{entry.metadata},"method":{quoted(entry.method)},'
        f'"path":{quoted(entry.path)},"prev_hash":{quoted(entry.prev_hash)},'
        f'"request_body":{quoted(entry.request_body)},"request_id":{quoted(entry.request_id)},'
        f'"resource_id":{quoted(entry.resource_id)},"resource_type":{quoted(entry.resource_type)},'
        f'"response_status":{entry.response_status:d},"response_time_ms":{entry.response_time_ms:d},'
        f'"success":{"true" if entry.success else "false"},"timestamp":"{moment_text(entry.timestamp)}",'
        f'"user_agent":{quoted(entry.user_agent)}}}'
    )


def canonical(value: Any) -> str:
    """Any JSON value in the canonical form: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def metadata_text(facts: Mapping[str, Any]) -> str:
    """Facts as canonical JSON.

    Numbers that not every program reads alike (fractions, integers beyond 2**53) become text, as
    does whatever is no JSON. What ``hidden`` knows is replaced; what is longer than 20,000 characters
    is left out, and said so.
    """
    text = canonical(_plain(facts, 0))
    return text if len(text) <= MAX_METADATA else canonical({"left_out": f"{len(text)} characters"})


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -EXACT <= value <= EXACT else str(value)
    if isinstance(value, datetime):
        return moment_text(microseconds(value))
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return {_storable(str(key)): _plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
            return [_plain(item, depth + 1) for item in items]
    return _storable(str(value))


def _storable(text: str) -> str:
    return hidden(text).encode("utf-8", "replace").decode()


def microseconds(moment: datetime) -> int:
    """Since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(at: int) -> datetime:
    """Microseconds since the epoch as a time, UTC."""
    return _EPOCH + timedelta(microseconds=at)


def moment_text(at: int) -> str:
    """RFC 3339, UTC, always six digits of a second: ``2024-01-01T00:00:00.000000Z``."""
    second, fraction = divmod(at, 1_000_000)
    day, second = divmod(second, 86_400)
    hour, second = divmod(second, 3600)
    return f"{_date_text(day)}T{hour:02}:{second // 60:02}:{second % 60:02}.{fraction:06}Z"


@functools.lru_cache(maxsize=400)
def _date_text(day: int) -> str:
    """A date by its number since the epoch; events that are read together are of few days."""
    return (_EPOCH + timedelta(days=day)).date().isoformat()
