"""The text of ``flatrun.yml``: reading it, changing single keys in it, and writing it whole.

A change is spliced into the text at the place the YAML parser names, so everything else (comments,
order, quotes, line ends, keys nobody knows) stays as it was, byte for byte. Each change is proved
by reading the new text again.
"""

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from flatrun_core.disk import sync_folder
from flatrun_core.errors import StartupError

_NODE_LIMIT = 100_000
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*")
_NOT_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
# What a parser quotes may be a secret; single marks and the names of its own tokens are not.
_QUOTED = re.compile(r"'(?!<[a-z ]+>')[^']{3,}'|\"[^\"]{3,}\"")


class SettingsError(StartupError):
    """Settings that cannot be used; ``problems`` are sentences, each naming its key or place."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class EditError(Exception):
    """The text cannot be changed at this key without changing something else."""


def parse(text: str, name: str = "flatrun.yml") -> dict[str, Any]:
    """The mapping a settings text holds; raises ``SettingsError`` with line and column, never a value."""
    try:
        data = unshared(_yaml().load(text))
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError([f"{name}{place}: {_reason(exc)}"]) from None
    except RecursionError:
        raise SettingsError([f"{name}: is nested too deeply, or an alias contains itself"]) from None
    except (YAMLError, ValueError, TypeError, OverflowError) as exc:
        raise SettingsError([f"{name}: is not YAML that can be read ({type(exc).__name__})"]) from None
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise SettingsError([f"{name}: must be a mapping of section names"])
    return data


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _reason(exc: MarkedYAMLError) -> str:
    if isinstance(exc, DuplicateKeyError):
        return "a key is given twice"
    return _QUOTED.sub("'...'", exc.problem or "is not valid YAML")


def edit(text: str, changes: Mapping[tuple[str, ...], Any]) -> str:
    """The text with each key, a path of names, set to a value of JSON types.

    Raises ``EditError`` where anchors or an unusual form make that impossible.
    """
    expected = parse(text)
    for path, value in changes.items():
        text = _set(text, path, value)
        inner = expected
        for name in path[:-1]:
            if inner.get(name) is None:
                inner[name] = {}
            inner = inner[name]
        inner[path[-1]] = value
    try:
        proved = repr(parse(text)) == repr(expected)
    except SettingsError:
        proved = False
    if not proved:
        raise EditError
    return text


def unshared(value: Any, budget: list[int] | None = None) -> Any:
    """A copy in which no two places are one object, as anchors make them; ``ValueError`` for a bomb."""
    budget = budget or [_NODE_LIMIT]
    budget[0] -= 1
    if budget[0] < 1:
        raise ValueError("too many values")
    if isinstance(value, dict):
        return {key: unshared(inner, budget) for key, inner in value.items()}
    return [unshared(inner, budget) for inner in value] if isinstance(value, list) else value


def _set(text: str, path: tuple[str, ...], value: Any) -> str:
    root = _yaml().compose(text)
    if root is None or (isinstance(root, ScalarNode) and _is_empty(root)):
        gap = "" if not text or text.endswith("\n") else _newline(text)
        return text + gap + _newline(text).join(_lines(path, value, "")) + _newline(text)
    key, node = None, root
    for depth, name in enumerate(path):
        if isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null" and key is not None:
            return _fill(text, key, node, _lines(path[depth:], value, " " * (key.start_mark.column + 2)))
        if not isinstance(node, MappingNode):
            raise EditError
        found = next((pair for pair in node.value if pair[0].value == name), None)
        if found is None:
            return _add(text, node, path[depth:], value)
        key, node = found
    return _replace(text, key, node, value)


def _replace(text: str, key: Any, node: Any, value: Any) -> str:
    colon = _colon(text, key)
    if _is_empty(node):
        return f"{text[:colon]} {_inline(value)}{text[colon:]}"
    if isinstance(node, ScalarNode) or node.flow_style:
        end = len(text[: node.end_mark.index].rstrip("\r\n"))
        return text[: node.start_mark.index] + _inline(value) + text[end:]
    start = text.rindex("\n", 0, node.start_mark.index)
    start -= text[start - 1] == "\r"
    if isinstance(node, SequenceNode) and isinstance(value, list) and value:
        return text[:start] + _merged_lines(text, start, node, value)
    end = _line_end(text, _last_end(text, node))
    return f"{text[:colon]} {_inline(value)}{text[colon:start]}{text[end:]}"


def _add(text: str, parent: Any, path: tuple[str, ...], value: Any) -> str:
    """Put a key that is not there behind the last one of its mapping."""
    if not parent.flow_style:
        lines = _lines(path, value, " " * parent.start_mark.column)
        return _insert_lines(text, _last_end(text, parent), lines)
    at = _pair_end(text, parent.value[-1]) if parent.value else parent.start_mark.index + 1
    new = f"{path[0]}: {_inline(_nest(path[1:], value))}"
    return text[:at] + (", " if parent.value else "") + new + text[at:]


def _fill(text: str, key: Any, node: Any, lines: list[str]) -> str:
    """Put a section's keys where its name stands without any."""
    if not _is_empty(node):
        text = text[: node.start_mark.index] + text[node.end_mark.index :]
    return _insert_lines(text, _colon(text, key), lines)


def _merged_lines(text: str, at: int, node: Any, value: list[Any]) -> str:
    """A block list and what follows it; items that stay keep their lines and the comments on them."""
    kept: dict[str, list[str]] = {}
    for item in node.value:
        start, at = at, _line_end(text, _last_end(text, item))
        kept.setdefault(repr(_yaml().constructor.construct_object(item, deep=True)), []).append(
            text[start:at]
        )
    fresh = _newline(text) + " " * node.start_mark.column + "- "
    items = [lines.pop(0) if (lines := kept.get(repr(v))) else fresh + _inline(v) for v in value]
    return "".join(items) + text[at:]


def _is_empty(node: Any) -> bool:
    return bool(node.start_mark.index == node.end_mark.index)


def _colon(text: str, key: Any) -> int:
    """Just behind the colon of a key."""
    return text.index(":", key.end_mark.index) + 1


def _pair_end(text: str, pair: tuple[Any, Any]) -> int:
    # A value that is not there is placed by the parser where the next thing begins.
    return _colon(text, pair[0]) if _is_empty(pair[1]) else _last_end(text, pair[1])


def _last_end(text: str, node: Any) -> int:
    """Where the last thing inside a node ends; a block's own end is where the next thing begins."""
    if not isinstance(node.value, list) or not node.value or node.flow_style:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _pair_end(text, last) if isinstance(last, tuple) else _last_end(text, last)


def _line_end(text: str, at: int) -> int:
    """The end of the line something ends on, a comment behind it included."""
    content = len(text[:at].rstrip("\r\n"))
    ends = (end for mark in "\r\n" if (end := text.find(mark, at)) >= 0)
    return content if content < at else min(ends, default=len(text))


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _insert_lines(text: str, after: int, lines: list[str]) -> str:
    at = _line_end(text, after)
    new = "".join(_newline(text) + line for line in lines)
    return text[:at] + new + (text[at:] or _newline(text))


def _lines(path: tuple[str, ...], value: Any, indent: str) -> list[str]:
    *outer, last = path
    lines = [f"{indent}{'  ' * depth}{name}:" for depth, name in enumerate(outer)]
    return [*lines, f"{indent}{'  ' * len(outer)}{last}: {_inline(value)}"]


def _nest(path: tuple[str, ...], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _inline(value: Any) -> str:
    """A value of JSON types as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_inline(k)}: {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def write_atomic(path: Path, data: bytes, *, expect: bytes | None = None) -> None:
    """Replace a file as a whole, mode 0600; a link is followed, the owner stays where that is allowed.

    The old file is there, complete, until the new one is on the disk. ``expect`` are the bytes it
    must still have just before; raises ``EditError`` when it has others, ``OSError`` when it
    cannot be written.
    """
    target = path.resolve(strict=True)
    draft = target.with_name(f".{target.name}.new")
    # One fixed name, so that what a crash leaves behind goes with the next write.
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            _keep_owner(handle, target)
            file.write(data)
            file.flush()
            os.fsync(handle)
        if expect is not None and target.read_bytes() != expect:
            raise EditError
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _keep_owner(handle: int, target: Path) -> None:
    owner = target.stat()
    with contextlib.suppress(PermissionError):
        os.fchown(handle, owner.st_uid, owner.st_gid)
