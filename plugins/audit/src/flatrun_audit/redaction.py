"""What of a request's body is kept: everything but secrets, and never more than 10,000 characters.

The text is written from the front and given up when it is long enough, so a body of any size or depth
costs no more than what is kept of it. Redaction comes first, cutting after.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qsl

from flatrun_audit.hiding import hidden, is_secret_name, json_within, secret_parts
from flatrun_audit.texts import REDACTED, bare, clean, clean_lines

LIMIT: Final = 10_000
MAX_DEPTH: Final = 32
TOO_DEEP: Final = "[TOO DEEP]"
MAX_KEY: Final = 200
MAX_QUERY: Final = 20
MIN_SECRET: Final = 4

DIGESTED: Final = frozenset(
    {"compose", "composecontent", "composefile", "content", "contents", "filecontent", "sql", "query"}
    | {"statement", "statements", "dump"}
)
"""Keys whose text is replaced by its length and its SHA-256."""

VARIABLES: Final = frozenset({"env", "envvars", "envvar", "environment", "environ", "variables"})
"""Keys below which every value is hidden and the names are kept."""

_KEY_ACTIONS: Final = ("auth", "apikeys", "apikey", "users")


class _LongEnough(Exception):
    """Everything that will be kept has been written."""


def redacted(body: Any, *, action: str = "") -> str:
    """The JSON text of a body without its secrets, cut to 10,000 characters.

    ``action`` is the request's: in logins and in what concerns keys ``key`` and ``code`` are secrets
    too. Never raises for what JSON can hold.
    """
    writer = _Writer(keys=_about_keys(action))
    with suppress(_LongEnough):
        writer.value(body, 0)
    return "".join(writer.pieces)[:LIMIT]


def redacted_query(query: str) -> dict[str, str]:
    """The parameters of a query string, at most twenty, secrets hidden."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return {"": "[TOO MANY]"}
    found: dict[str, str] = {}
    for name, value in pairs[:MAX_QUERY]:
        kept = REDACTED if _is_secret(name, True, frozenset()) else _redacted_text(value)
        found[clean(hidden(name), MAX_KEY)] = clean(kept, MAX_KEY)
    return found


def secrets_in(body: Any, *, action: str = "") -> set[str]:
    """The texts of a body, of four characters or more, that redaction hides."""
    keys = _about_keys(action)
    found: set[str] = set()
    waiting: list[tuple[Any, bool]] = [(body, False)]
    while waiting:
        value, hides = waiting.pop()
        if isinstance(value, str):
            found.update(_long_enough([value] if hides else secret_parts(value)))
            if not hides and (inner := _inner(value)) is not None:
                waiting.append((inner, False))
        elif isinstance(value, Mapping):
            names = _names(value)
            waiting.extend(
                (item, (hides and not _is_label(bare(key), names)) or _hides(key, keys, names))
                for key, item in value.items()
            )
        elif isinstance(value, list):
            waiting.extend((item, hides) for item in value)
    return found


def without(text: str, secrets: set[str]) -> str:
    """The text with each of the secrets replaced."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


def _long_enough(texts: Iterable[str]) -> Iterator[str]:
    """Those of four characters or more: a shorter one is part of ordinary words."""
    return (text for text in texts if len(text) >= MIN_SECRET)


def _inner(text: str) -> Any:
    try:
        return json_within(text)
    except ValueError:  # only its digest is kept
        return None


def _redacted_text(text: str) -> str:
    """A text by itself, of a query or the like, without its secrets."""
    try:
        inner = json_within(text)
    except ValueError:
        return REDACTED
    return hidden(text) if inner is None else redacted(inner)


def _about_keys(action: str) -> bool:
    return bare(action.partition(".")[0]) in _KEY_ACTIONS or "totp" in action


def _hides(key: str, keys: bool, names: frozenset[str]) -> bool:
    return _is_secret(key, keys, names) or bare(key) in VARIABLES or bare(key) in DIGESTED


def _is_secret(key: str, keys: bool, names: frozenset[str]) -> bool:
    """Whether the value below a key is a secret; ``names`` are the keys that stand beside it."""
    if is_secret_name(key):
        return True
    name = bare(key)
    return (name == "value" and "key" in names) or (keys and name in ("key", "code"))


def _is_label(name: str, names: frozenset[str]) -> bool:
    """Whether this is the name of a variable in ``{"key": ..., "value": ...}``."""
    return name in ("key", "name") and "value" in names


def _names(value: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(map(bare, value)) if "value" in map(bare, value) else frozenset()


class _Writer:
    """Writes redacted JSON into ``pieces`` until there is enough."""

    def __init__(self, *, keys: bool) -> None:
        self.pieces: list[str] = []
        self._keys = keys
        self._length = 0

    def value(self, value: Any, depth: int) -> None:
        """Any JSON value."""
        if isinstance(value, str):
            self._string(value, depth)
        elif not isinstance(value, Mapping | list):
            self._write(json.dumps(value, default=str))
        elif depth >= MAX_DEPTH:
            self._text(TOO_DEEP)
        elif isinstance(value, list):
            self._list(value, depth, self.value)
        else:
            names = _names(value)
            self._object(value, lambda key, item: self._member(key, item, depth + 1, names))

    def _string(self, text: str, depth: int) -> None:
        """A text; one that is JSON itself is looked through like any other."""
        try:
            inner = json_within(text)
        except ValueError:
            self._digest(text)
            return
        if inner is None:
            self._text(hidden(text))
            return
        within = _Writer(keys=self._keys)
        with suppress(_LongEnough):
            within.value(inner, depth + 1)
        self._text("".join(within.pieces)[:LIMIT])

    def _member(self, key: str, item: Any, depth: int, names: frozenset[str]) -> None:
        name = bare(key)
        if _is_secret(key, self._keys, names):
            self._text(REDACTED)
        elif name in VARIABLES:
            self._variables(item, depth)
        elif name in DIGESTED and isinstance(item, str | Mapping | list):
            self._digest(item)
        else:
            self.value(item, depth)

    def _variables(self, item: Any, depth: int) -> None:
        """A mapping of names to values, or a list of pairs or of ``NAME=value``: only names stay."""
        if isinstance(item, list) and depth < MAX_DEPTH:
            self._list(item, depth, self._variable)
        elif isinstance(item, Mapping):
            self._object(item, lambda _, __: self._text(REDACTED))
        else:
            self._text(REDACTED)

    def _variable(self, item: Any, depth: int) -> None:
        if isinstance(item, Mapping):
            names = _names(item)
            self._object(item, lambda key, inner: self._labelled(bare(key), inner, names))
        elif isinstance(item, str) and "=" in item:
            self._text(hidden(item.partition("=")[0])[:MAX_KEY] + "=" + REDACTED)
        else:
            self._text(REDACTED)

    def _labelled(self, name: str, inner: Any, names: frozenset[str]) -> None:
        kept = isinstance(inner, str) and _is_label(name, names)
        self._text(hidden(inner)[:MAX_KEY] if kept else REDACTED)

    def _list(self, items: Sequence[Any], depth: int, write: Callable[[Any, int], None]) -> None:
        self._write("[")
        for index, item in enumerate(items):
            if index:
                self._write(",")
            write(item, depth + 1)
        self._write("]")

    def _object(self, value: Mapping[str, Any], write: Callable[[str, Any], None]) -> None:
        self._write("{")
        for index, (key, item) in enumerate(value.items()):
            self._write(
                ("," if index else "") + json.dumps(clean(hidden(key), MAX_KEY), ensure_ascii=False) + ":"
            )
            write(key, item)
        self._write("}")

    def _digest(self, item: Any) -> None:
        try:
            text = item if isinstance(item, str) else json.dumps(item, sort_keys=True, default=str)
        except RecursionError:
            self._text(TOO_DEEP)
            return
        data = text.encode("utf-8", "replace")
        self._write(f'{{"length":{len(text)},"sha256":"{hashlib.sha256(data).hexdigest()}"}}')

    def _text(self, text: str) -> None:
        self._write(json.dumps(clean_lines(text), ensure_ascii=False))

    def _write(self, text: str) -> None:
        self.pieces.append(text)
        self._length += len(text)
        if self._length > LIMIT:
            raise _LongEnough
