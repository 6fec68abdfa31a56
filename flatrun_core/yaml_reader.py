"""YAML as Docker Compose reads it, within limits that no text can exceed.

Scalars follow the rules of Compose's own parser (YAML 1.2 with a few habits of 1.1), so that
``yes`` is a string and ``22:22`` is not a number in base 60. The tree is built from parser events
without recursion, and what aliases and merge keys would expand to is counted before it exists.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

MAX_TEXT: Final = 1 << 20
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 50_000
_MAX_NUMBER: Final = 40
_MAX_DIRECTIVES: Final = 20

_CORE: Final = "tag:yaml.org,2002:"
_KINDS: Final = "str int float bool null binary timestamp merge map seq set omap"
_TAGS: Final = frozenset(_CORE + kind for kind in _KINDS.split())
_TEXT_TAGS: Final = frozenset({"!", _CORE + "str", _CORE + "binary", _CORE + "timestamp"})
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NUMBER_START: Final = frozenset("+-.0123456789")
_INTEGER: Final = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|[0-9]+)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_MERGE: Final = object()
_UNSET: Final = object()

# Without libyaml the pure parser gives the same events, about ten times slower.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlProblem(ValueError):
    """Why a text cannot be read; ``line`` counts from 1."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


def read_yaml(text: str, *, limit: int = MAX_TEXT, string_keys: bool = True) -> Any:
    """The document of a text: dicts, lists, strings, numbers, booleans and None.

    ``limit`` is in bytes of UTF-8. With ``string_keys`` a key that is no string is refused, as
    Compose does; without it such keys become their text. Aliases share their value, so the result
    must not be changed. Raises ``YamlProblem``; an empty text is None.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as exc:
        raise YamlProblem("the text holds half a character (a lone surrogate)") from exc
    if len(data) > limit:
        raise YamlProblem(f"the text is larger than {limit // 1024} KiB")
    # The parser compares each tag directive with all earlier ones.
    if text.count("%TAG") > _MAX_DIRECTIVES:
        raise YamlProblem("there are too many directives")
    try:
        return _Reader(_Loader(data), string_keys).document()
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        reason = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "it cannot be parsed"
        raise YamlProblem(str(reason), mark.line + 1 if mark else None) from exc


@dataclass(slots=True)
class _Frame:
    """A mapping or list being filled; ``size`` counts values as if aliases were written out."""

    value: Any
    anchor: str | None
    line: int
    key: Any = _UNSET
    size: int = 1
    merges: list[dict[str, Any]] = field(default_factory=list)


class _Reader:
    def __init__(self, parser: Any, string_keys: bool) -> None:
        self._parser = parser
        self._string_keys = string_keys
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._root: Any = None
        self._documents = 0

    def document(self) -> Any:
        take = self._parser.get_event
        handlers: dict[type, Any] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        count = 0
        try:
            while not isinstance(event := take(), yaml.StreamEndEvent):
                handler = handlers.get(type(event))
                if handler is not None:
                    handler(event)
                    count += 1
                    if count > 2 * MAX_VALUES:
                        raise _problem("there are too many values", event)
        finally:
            self._parser.dispose()
        return self._root

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise _problem("there is more than one document", event)

    def _start(self, event: Any) -> None:
        if len(self._frames) >= MAX_DEPTH:
            raise _problem("the nesting is too deep", event)
        self._check_tag(event)
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.anchor:
            self._anchors[event.anchor] = None
        self._frames.append(_Frame(value, event.anchor, event.start_mark.line + 1))

    def _end(self, event: Any) -> None:
        frame = self._frames.pop()
        for merged in frame.merges:
            for key, value in merged.items():
                frame.value.setdefault(key, value)
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.value, frame.size)
        self._add(frame.value, frame.size, event)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise _problem(f"the alias '{event.anchor}' is not defined", event)
        known = self._anchors[event.anchor]
        if known is None:
            raise _problem(f"the alias '{event.anchor}' contains itself", event)
        value, size = known
        self._add(value, size, event)

    def _scalar(self, event: Any) -> None:
        self._check_tag(event)
        plain = event.implicit[0] and event.tag is None
        if self._wants_key():
            value: Any = event.value if not self._string_keys else _typed(event)
            if plain and event.value == "<<":
                value = _MERGE
        else:
            value = _typed(event)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, 1, event)

    def _wants_key(self) -> bool:
        if not self._frames:
            return False
        return isinstance(self._frames[-1].value, dict) and self._frames[-1].key is _UNSET

    def _add(self, value: Any, size: int, event: Any) -> None:
        if not self._frames:
            self._root = value
            return
        frame = self._frames[-1]
        frame.size += size
        if frame.size > MAX_VALUES:
            raise _problem("it expands to too many values", event)
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is _UNSET:
            frame.key = self._key(frame, value, event)
        else:
            self._pair(frame, value, event)

    def _key(self, frame: _Frame, value: Any, event: Any) -> Any:
        if value is _MERGE:
            return value
        if not isinstance(value, str):
            raise _problem("a key is not a string", event)
        if value in frame.value:
            raise _problem(f"the key '{value[:100]}' occurs twice", event)
        return value

    def _pair(self, frame: _Frame, value: Any, event: Any) -> None:
        key, frame.key = frame.key, _UNSET
        if key is not _MERGE:
            frame.value[key] = value
            return
        merged = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in merged):
            raise _problem("a merge key wants a mapping, or a list of mappings", event)
        frame.merges.extend(merged)

    def _check_tag(self, event: Any) -> None:
        tag = event.tag
        if tag is not None and tag.startswith("tag:") and tag not in _TAGS:
            raise _problem(f"the tag '{tag[:100]}' is not known", event)


def _problem(reason: str, event: Any) -> YamlProblem:
    return YamlProblem(reason, event.start_mark.line + 1)


def _typed(event: Any) -> Any:
    if event.tag in _TEXT_TAGS or (event.tag is None and not event.implicit[0]):
        return event.value
    try:
        return resolve(event.value)
    except YamlProblem as exc:
        raise _problem(exc.reason, event) from None


def resolve(text: str) -> Any:
    """The value of a plain scalar; numbers of more than 40 characters raise ``YamlProblem``."""
    if text[:1] in _NUMBER_START and text:
        return _number(text)
    if text in _NULLS:
        return None
    return _BOOLEANS.get(text, text)


def _number(text: str) -> Any:
    digits = text.replace("_", "") if "_" in text else text
    integer = _INTEGER.fullmatch(digits)
    if not integer and not _FLOAT.fullmatch(digits):
        return text
    if len(digits) > _MAX_NUMBER:
        raise YamlProblem("a number is too long; a text of digits has to be quoted")
    if integer:
        value = _integer(integer[1], integer[2])
        if -(1 << 63) <= value < (1 << 64):
            return value
    # What does not fit is no number here either: infinity has no place in JSON.
    number = float(digits) if _FLOAT.fullmatch(digits) else math.inf
    return number if math.isfinite(number) else text


def _integer(sign: str, digits: str) -> int:
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        octal = all(digit in "01234567" for digit in digits)
        value = int(digits, 8 if octal else 10)
    else:
        value = int(digits, 0)
    return -value if sign == "-" else value
