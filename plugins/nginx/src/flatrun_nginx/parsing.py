"""A configuration file as a tree of statements, read by crossplane and not by us."""

import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import crossplane


class Node(NamedTuple):
    """One statement: its name, its words, and what its block holds (None without a block)."""

    name: str
    words: tuple[str, ...] = ()
    block: "tuple[Node, ...] | None" = None

    def __str__(self) -> str:
        """As it may stand in a message."""
        return " ".join((self.name, *self.words))


class Unreadable(ValueError):
    """The file is not in nginx's syntax; the text says where."""


def parse(path: Path) -> tuple[Node, ...]:
    """The statements of one file, comments left out and includes not followed.

    Raises ``Unreadable``.
    """
    payload = crossplane.parse(
        str(path), single=True, comments=False, strict=False, check_ctx=False, check_args=False
    )
    errors = [one for file in payload["config"] for one in file["errors"]]
    if errors:
        text = str(errors[0]["error"]).replace(f" in {path}", "").replace(str(path), "the text")
        # The parser has no words for a text that is cut off.
        raise Unreadable(text or "the text ends too early")
    return _nodes(payload["config"][0]["parsed"])


def parse_text(text: str) -> tuple[Node, ...]:
    """The statements of a piece of a file, which must be whole ones. Raises ``Unreadable``."""
    # The parser passes over a quote or comment that the end of a file cuts off, and over words without a
    # semicolon. Here something follows, and it must come out as what it is.
    end = f"end_{secrets.token_hex(8)}"
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
        file.write(f"{text}{end};\n")
        file.flush()
        *statements, last = parse(Path(file.name)) or (Node(""),)
    if last != Node(end):
        raise Unreadable("the text ends within a statement, a quote or a comment")
    return tuple(statements)


def _nodes(statements: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    return tuple(
        Node(
            one["directive"],
            tuple(one["args"]),
            _nodes(one["block"]) if "block" in one else None,
        )
        for one in statements
    )
