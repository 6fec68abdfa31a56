"""``.env.flatrun``: the variables that Compose fills a deployment's file with.

What is read is what Compose reads, except that nothing is ever interpolated. What is written means
the same to both: a ``$`` is escaped, because Compose would take it for a variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flatrun_core.errors import Failed, Invalid
from flatrun_deployments.files import Unreadable, atomic_write, read_bytes

FILENAME: Final = ".env.flatrun"
MAX_SIZE: Final = 1 << 20
KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_ASSIGNMENT: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:#[^\n]*)?\r?(?=\n|\Z)', re.DOTALL)
_SINGLE: Final = re.compile(r"'((?:[^'\\]|\\.)*)'[ \t]*(?:#[^\n]*)?\r?(?=\n|\Z)", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_COMMENT: Final = re.compile(r"(?:^|[ \t])#.*")
_PLAIN: Final = re.compile(r"[^\s\"'#$\\`]?|[^\s\"'#$`\\][^\r\n\"'#$`]*[^\s\"'#$`\\]")
_UNESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_ESCAPED: Final = {value: f"\\{key}" for key, value in _UNESCAPED.items()}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the file: an assignment with its key and value, or anything else."""

    raw: str
    key: str | None = None
    value: str = ""


def parse(text: str) -> dict[str, str]:
    """The variables of a text; of a key that occurs twice the last one counts."""
    return {piece.key: piece.value for piece in _pieces(text) if piece.key is not None}


def update_text(text: str, values: Mapping[str, str | None]) -> str:
    """The text with variables set, or removed where the value is None; everything else as it was.

    Raises ``Invalid`` for a key that is none, and for a value with a NUL or half a character.
    """
    for key, value in values.items():
        if not KEY.fullmatch(key):
            raise Invalid(f"'{key[:60]}' is not the name of an environment variable")
        if value is not None and not _writable(value):
            raise Invalid(f"The value of {key} holds a character that no file of variables can hold")
    ending = "\r\n" if "\r\n" in text else "\n"
    pieces = _pieces(text)
    last = {piece.key: index for index, piece in enumerate(pieces) if piece.key}
    body = "".join(
        _kept(piece, last.get(piece.key or "") == index, values) for index, piece in enumerate(pieces)
    )
    added = [_line(key, value) for key, value in values.items() if value is not None and key not in last]
    if added and body and not body.endswith("\n"):
        body += ending
    return body + "".join(line + ending for line in added)


def read(path: Path) -> dict[str, str]:
    """The variables of a file; none when there is no file. Unusable: ``Failed`` ``ENV_UNREADABLE``."""
    return parse(_text(path))


def update(path: Path, values: Mapping[str, str | None]) -> None:
    """Set and remove variables of a file, in one step; the file is readable to its owner only."""
    before = _text(path)
    after = update_text(before, values)
    if after == before:
        return
    atomic_write(path, after.encode(errors="surrogateescape"), mode=0o600)


def _writable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _text(path: Path) -> str:
    try:
        return read_bytes(path.parent, path.name, MAX_SIZE).decode(errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except Unreadable as exc:
        raise Failed(f"The variables cannot be read: {exc.reason}", code="ENV_UNREADABLE") from exc


def _kept(piece: _Piece, is_last: bool, values: Mapping[str, str | None]) -> str:
    if piece.key is None or piece.key not in values or values[piece.key] == piece.value:
        return piece.raw
    value = values[piece.key]
    if value is None:
        return ""
    if not is_last:
        return piece.raw
    tail = piece.raw[len(piece.raw.rstrip("\r\n")) :]
    return _line(piece.key, value) + tail


def _pieces(text: str) -> list[_Piece]:
    pieces = []
    position = 0
    while position < len(text):
        piece = _piece(text, position)
        pieces.append(piece)
        position += len(piece.raw)
    return pieces


def _piece(text: str, start: int) -> _Piece:
    # A byte order mark is no part of the first key.
    match = _ASSIGNMENT.match(text, start + 1 if text.startswith("\ufeff", start) else start)
    newline = text.find("\n", start)
    end = len(text) if newline < 0 else newline + 1
    if not match or match.end() > end:
        return _Piece(text[start:end])
    for pattern in (_DOUBLE, _SINGLE):
        quoted = pattern.match(text, match.end())
        if quoted:
            end = min(quoted.end() + 1, len(text))
            return _Piece(text[start:end], match[1], _unquoted(quoted[1], pattern is _DOUBLE))
    line = text[match.end() : end].rstrip("\r\n")
    return _Piece(text[start:end], match[1], _COMMENT.sub("", line, count=1).strip())


def _unquoted(text: str, double: bool) -> str:
    if not double:
        return text.replace("\\'", "'")
    return _ESCAPE.sub(lambda found: _UNESCAPED.get(found[1], found[0]), text)


def _line(key: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f"{key}={value}"
    return f'{key}="{"".join(_ESCAPED.get(char, char) for char in value)}"'
