"""The text of a long document put together from pieces of its last one, where they say the same.

Writing is most of a change's time in a long file, and most of the file is not changed.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_KEY: Final = re.compile(r"^(?=[^\s\-#])", re.MULTILINE)
# Comments, empty lines, anchors, tags and document marks belong to more than the piece they stand in.
_ENTANGLED: Final = re.compile(r"#|^\s*$(?=\n)|^---|[&*!]", re.MULTILINE)

Dump = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    value: str
    items: tuple[str, ...] | None


class Pieces:
    """What a text says, key by key; to be made before the document is changed."""

    def __init__(self, pieces: Mapping[str, _Piece]) -> None:
        self._pieces = pieces

    @classmethod
    def of(cls, text: str, data: Mapping[str, Any]) -> "Pieces | None":
        """The pieces of a text that was written for these data; None where it has no clean ones."""
        parts = _KEY.split(text)[1:]
        if _ENTANGLED.search(text) or len(parts) != len(data):
            return None
        try:
            return cls({key: _piece(part, data[key]) for key, part in zip(data, parts, strict=True)})
        except (TypeError, ValueError):
            return None

    def renewed(self, data: Mapping[str, Any], dump: Dump) -> str | None:
        """The text for changed data; whether it says what they do is for the caller to see."""
        try:
            return "".join(self._part(key, value, dump) for key, value in data.items())
        except (TypeError, ValueError):
            return None

    def _part(self, key: str, value: Any, dump: Dump) -> str:
        known = self._pieces.get(key)
        if known is None:
            return dump({key: value})
        now = _piece("", value)
        if now.value == known.value:
            return known.text
        old = known.items
        if old and now.items and now.items[: len(old)] == old:
            added = dump({key: list(value)[len(old) :]})
            return known.text + added.partition("\n")[2]
        return dump({key: value})


def _piece(text: str, value: Any) -> _Piece:
    items = tuple(json.dumps(item) for item in value) if isinstance(value, list) else None
    return _Piece(text, json.dumps(value), items)
