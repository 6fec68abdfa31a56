"""The one text of an event that its hash is taken over; byte for byte as docs/audit.md says."""

import functools
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
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
_FLAG: Final = (bool, int)
# A million times are written at once, and looking a piece up is half the price of writing it.
_MINUTES: Final = tuple(f"{minute // 60:02}:{minute % 60:02}" for minute in range(1440))
_SECONDS: Final = tuple(f"{second:02}" for second in range(60))


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


def hash_of(entry: Entry | tuple[Any, ...]) -> str:
    """SHA-256, in hex, over the canonical text without ``hash``.

    Raises ``TypeError``, ``ValueError`` or ``OverflowError`` for a value that is not exactly of its
    field's type, so that nothing else can stand in a table and count as the same. A database without
    booleans may have 0 and 1.
    """
    return hashlib.sha256("".join(_halves(entry)).encode("ascii")).hexdigest()


def is_hash(text: str) -> bool:
    """Whether a text has the form of a hash."""
    return len(text) == len(ZERO) and not text.strip("0123456789abcdef")


def sealed(entry: Entry) -> Entry:
    """The event with its hash filled in."""
    return entry._replace(hash=hash_of(entry))


def text_of(entry: Entry) -> str:
    """The event object of the API as JSON: the canonical text with ``hash`` in its place.

    Of an event that somebody changed to what the panel never writes, something is shown all the same.
    """
    try:
        front, back = _halves(entry)
        if entry.metadata != "{}":
            json.loads(entry.metadata)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return canonical(_as_far_as_it_goes(entry))
    return f'{front}"hash":{quoted(entry.hash)},{back}'


def _as_far_as_it_goes(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {name: str(value) for name, value in entry._asdict().items()}
    for name in ("id", "response_status", "response_time_ms"):
        value = getattr(entry, name)
        shown[name] = value if isinstance(value, int) else 0
    shown["success"] = entry.success == 1
    shown["timestamp"] = moment_text(0)
    with suppress(TypeError, ValueError, OverflowError):
        shown["timestamp"] = moment_text(entry.timestamp)
    shown["metadata"] = {"unreadable": str(entry.metadata)}
    return shown


def _halves(entry: Entry | tuple[Any, ...]) -> tuple[str, str]:
    """The canonical text before and after ``hash``; ``quoted`` takes nothing but texts."""
    (action, actor_id, actor_name, actor_type, api_key_prefix, client_ip, error_message, event_id, own,
     number, metadata, method, path, prev_hash, request_body, request_id, resource_id, resource_type,
     status, elapsed, success, timestamp, user_agent) = entry  # fmt: skip
    if not (type(number) is type(status) is type(elapsed) is type(timestamp) is int):
        raise TypeError("a number is of another type")
    if not (type(metadata) is type(own) is str and type(success) in _FLAG):
        raise TypeError("a field is of another type")
    return (
        f'{{"action":{quoted(action)},"actor_id":{quoted(actor_id)},'
        f'"actor_name":{quoted(actor_name)},"actor_type":{quoted(actor_type)},'
        f'"api_key_prefix":{quoted(api_key_prefix)},"client_ip":{quoted(client_ip)},'
        f'"error_message":{quoted(error_message)},"event_id":{quoted(event_id)},'
    ), (
        f'"id":{number},"metadata":{metadata},"method":{quoted(method)},'
        f'"path":{quoted(path)},"prev_hash":{quoted(prev_hash)},'
        f'"request_body":{quoted(request_body)},"request_id":{quoted(request_id)},'
        f'"resource_id":{quoted(resource_id)},"resource_type":{quoted(resource_type)},'
        f'"response_status":{status},"response_time_ms":{elapsed},'
        f'"success":{_truth(success)},"timestamp":"{moment_text(timestamp)}",'
        f'"user_agent":{quoted(user_agent)}}}'
    )


def _truth(success: int) -> str:
    if success not in (0, 1):
        raise ValueError("the outcome is neither true nor false")
    return "true" if success else "false"


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
    minute, second = divmod(second, 60)
    return f"{_date_text(day)}T{_MINUTES[minute]}:{_SECONDS[second]}.{fraction:06}Z"


@functools.lru_cache(maxsize=400)
def _date_text(day: int) -> str:
    """A date by its number since the epoch; events that are read together are of few days."""
    return (_EPOCH + timedelta(days=day)).date().isoformat()
