"""Variables in compose values, as far as their value can be known from a deployment's files."""

import re
from collections.abc import Mapping
from typing import Final

_MAX_TEXT: Final = 2000
_MAX_DEPTH: Final = 8
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR: Final = re.compile(r":?[-?+]")


def interpolate(text: str, env: Mapping[str, str]) -> str | None:
    """The text with ``$NAME`` and ``${NAME...}`` replaced, or None when a value cannot be known.

    The forms are Compose's: ``:-``, ``-``, ``:?``, ``?``, ``:+``, ``+`` and ``$$``. A variable that
    is neither in ``env`` nor has a default makes the whole unknown.
    """
    if "$" not in text:
        return text
    return _replace(text, env, 0) if len(text) <= _MAX_TEXT else None


def closing_brace(text: str, start: int) -> int:
    """The index of the ``}`` that closes the ``${`` before ``start``; -1 when there is none."""
    depth = 1
    for index in range(start, len(text)):
        if text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
        elif text.startswith("${", index):
            depth += 1
    return -1


def _replace(text: str, env: Mapping[str, str], depth: int) -> str | None:
    if depth > _MAX_DEPTH:
        return None
    done: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        done.append(text[position:dollar])
        value, position = _variable(text, dollar + 1, env, depth)
        if value is None:
            return None
        done.append(value)
    done.append(text[position:])
    return "".join(done)


def _variable(text: str, start: int, env: Mapping[str, str], depth: int) -> tuple[str | None, int]:
    """The value of what follows a dollar, and where the text goes on."""
    if text.startswith("$", start):
        return "$", start + 1
    if text.startswith("{", start):
        end = closing_brace(text, start + 1)
        return (None, start) if end < 0 else (_braced(text[start + 1 : end], env, depth), end + 1)
    name = _NAME.match(text, start)
    return (env.get(name[0]), name.end()) if name else (None, start)


def _braced(body: str, env: Mapping[str, str], depth: int) -> str | None:
    name = _NAME.match(body)
    if not name:
        return None
    value = env.get(name[0])
    rest = body[name.end() :]
    if not rest:
        return value
    operator = _OPERATOR.match(rest)
    if not operator:
        return None
    present = bool(value) if operator[0].startswith(":") else value is not None
    if operator[0].endswith("+"):
        return _replace(rest[operator.end() :], env, depth + 1) if present else ""
    if present:
        return value
    return _replace(rest[operator.end() :], env, depth + 1) if operator[0].endswith("-") else None
