"""Verifying an export, read as a stream: a million events take no more memory than a few."""

import hashlib
import json
from collections.abc import Iterator
from typing import IO, Any, Final

from flatrun_audit.canonical import canonical
from flatrun_audit.repairs import ACTION as REPAIR
from flatrun_audit.verifying import ChainCheck, Link, Report, is_cleanup, mark_of

CHUNK: Final = 1 << 20  # characters
MAX_EVENT: Final = 1 << 22  # characters; the panel's own are below a tenth of that
_WHITE: Final = " \t\r\n"


class Unreadable(Exception):
    """The input is no export in JSON; the text says why."""


def verify_export(source: IO[str], check: ChainCheck) -> Report:
    """Check a JSON export of any layout; raises ``Unreadable``."""
    for text, event in _events(source):
        link = _link(text, event)
        if event.get("action") == REPAIR:
            check.repair(link, event.get("metadata"))
        check.take(link)
        if is_cleanup(event.get("action")):
            mark = mark_of(event.get("metadata"))
            if mark is not None:
                check.checkpoint(mark)
        if check.settled:
            break
    return check.end(anchored=False)


def _link(text: str, event: dict[str, Any]) -> Link:
    number, name, own = event.get("id"), event.get("event_id"), event.get("hash")
    if not isinstance(number, int) or isinstance(number, bool):
        raise Unreadable("an element of the array is no event: it has no number as its id")
    own = own if isinstance(own, str) else ""
    # The panel writes each event in the very text that was hashed, with the hash put in.
    plain = text.replace(f'"hash":"{own}",', "", 1)
    computed: str | None = hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
    if computed != own:
        computed = _computed(text)
    return Link(number, str(name), event.get("timestamp"), str(event.get("prev_hash")), own, computed)


def _computed(text: str) -> str | None:
    """The hash of an event in another layout, or of one that was changed."""
    try:
        event = json.loads(text, object_pairs_hook=_unique)
        del event["hash"]
        return hashlib.sha256(canonical(event).encode()).hexdigest()
    except (ValueError, KeyError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


class _Buffer:
    """The text not yet read of a source, filled when it runs short."""

    def __init__(self, source: IO[str]) -> None:
        self._source = source
        self._ended = False
        self.text = ""
        self.at = 0

    def more(self) -> bool:
        """Read on; False at the end."""
        if self._ended:
            return False
        try:
            read = self._source.read(CHUNK)
        except UnicodeDecodeError as exc:
            raise Unreadable("it is not UTF-8 text") from exc
        self._ended = not read
        self.text = self.text[self.at :] + read
        self.at = 0
        return bool(read)

    def next(self) -> str:
        """The next character that is no white space, not yet taken; empty at the end."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in _WHITE:
                    return self.text[self.at]
                self.at += 1
            if not self.more():
                return ""


def _events(source: IO[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    buffer = _Buffer(source)
    opening = buffer.next()
    if opening != "[":
        raise Unreadable(_no_array(buffer.text))
    buffer.at += 1
    if buffer.next() == "]":
        _check_end(buffer)
        return
    while True:
        yield _event(buffer)
        mark = buffer.next()
        buffer.at += 1
        if mark == "]":
            _check_end(buffer)
            return
        if mark != ",":
            raise Unreadable("it ends in the middle of the array" if not mark else "it is not valid JSON")


def _check_end(buffer: _Buffer) -> None:
    buffer.at += buffer.text[buffer.at : buffer.at + 1] == "]"
    if buffer.next():
        raise Unreadable("something follows the array of events")


def _event(buffer: _Buffer) -> tuple[str, dict[str, Any]]:
    if buffer.next() != "{":
        raise Unreadable("it is not an array of events")
    while True:
        try:
            event, end = _DECODER.raw_decode(buffer.text, buffer.at)
        except json.JSONDecodeError as exc:
            if len(buffer.text) - buffer.at > MAX_EVENT or not buffer.more():
                raise Unreadable(f"it is not valid JSON, or ends within an event ({exc.msg})") from exc
        except (ValueError, RecursionError) as exc:
            raise Unreadable("it is not JSON that a panel wrote") from exc
        else:
            text = buffer.text[buffer.at : end]
            buffer.at = end
            return text, event


def _no_array(text: str) -> str:
    if not text.strip():
        return "it is empty"
    if text.lstrip("\ufeff").startswith("id,event_id"):
        return (
            "it is a CSV export, which leaves out fields that the hashes are taken over; "
            "export as JSON to verify"
        )
    return "it is not a JSON array of events, as POST /api/audit/export writes it"


_DECODER: Final = json.JSONDecoder()
