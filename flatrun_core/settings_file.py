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
    except (YAMLError, ValueError, TypeError, OverflowError, RecursionError) as exc:
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
    newline = "\r\n" if "\r\n" in text else "\n"
    if root is None:
        gap = "" if not text or text.endswith("\n") else newline
        return text + gap + newline.join(_lines(path, value, "")) + newline
    node = root
    for depth, name in enumerate(path):
        if not isinstance(node, MappingNode):
            raise EditError
        found = next((pair for pair in node.value if pair[0].value == name), None)
        if found is None:
            return _add(text, node, path[depth:], value)
        key, node = found
        empty = isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"
        if empty and depth < len(path) - 1:
            return _fill(text, (key, node), path[depth + 1 :], value)
    if isinstance(node, SequenceNode) and not node.flow_style and isinstance(value, list):
        return _set_list(text, key, node, value)
    start, end = node.start_mark.index, len(text[: node.end_mark.index].rstrip("\r\n"))
    lead = "" if text[start - 1 : start].isspace() else " "
    return text[:start] + lead + _inline(value) + text[max(start, end) :]


def _add(text: str, parent: Any, path: tuple[str, ...], value: Any) -> str:
    """Put a key that is not there behind the last one of its mapping."""
    if parent.flow_style:
        at = _last_end(parent.value[-1][1]) if parent.value else parent.start_mark.index + 1
        new = f"{path[0]}: {_inline(_nest(path[1:], value))}"
        return text[:at] + (", " if parent.value else "") + new + text[at:]
    indent = " " * parent.start_mark.column
    return _insert_lines(text, _last_end(parent), _lines(path, value, indent))


def _fill(text: str, empty: tuple[Any, Any], path: tuple[str, ...], value: Any) -> str:
    """Put a mapping where a section's name stands without one."""
    key, node = empty
    start, end = node.start_mark.index, node.end_mark.index
    lines = _lines(path, value, " " * (key.start_mark.column + 2))
    return _insert_lines(text[:start] + text[end:], max(start, key.end_mark.index + 1), lines)


def _set_list(text: str, key: Any, node: Any, value: list[Any]) -> str:
    """Replace a block list, keeping the lines, with their comments, of the items that stay."""
    start = text.rindex("\n", 0, node.start_mark.index)
    start -= text[start - 1 : start] == "\r"
    kept: dict[str, list[str]] = {}
    at = start
    for item in node.value:
        end = _line_end(text, _last_end(item))
        kept.setdefault(repr(_yaml().constructor.construct_object(item, deep=True)), []).append(text[at:end])
        at = end
    if not value:
        colon = text.index(":", key.end_mark.index) + 1
        return text[:colon] + " []" + text[colon:start] + text[at:]
    newline = "\r\n" if "\r\n" in text else "\n"
    fresh = newline + " " * node.start_mark.column + "- "
    items = [lines.pop(0) if (lines := kept.get(repr(v))) else fresh + _inline(v) for v in value]
    return text[:start] + "".join(items) + text[at:]


def _last_end(node: Any) -> int:
    """Where the last thing inside a node ends; a block's own end is where the next thing begins."""
    while isinstance(node.value, list) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _line_end(text: str, at: int) -> int:
    """The end of the line something ends on, a comment behind it included."""
    content = len(text[:at].rstrip("\r\n"))
    if content < at:
        return content
    found = re.compile(r"[^\r\n]*").match(text, at)
    return found.end() if found else at


def _insert_lines(text: str, after: int, lines: list[str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    at = _line_end(text, after)
    return text[:at] + "".join(newline + line for line in lines) + (text[at:] or newline)


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
    _sync_folder(target.parent)


def _keep_owner(handle: int, target: Path) -> None:
    owner = target.stat()
    with contextlib.suppress(PermissionError):
        os.fchown(handle, owner.st_uid, owner.st_gid)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
