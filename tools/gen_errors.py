"""docs/errors.md, from the error classes and from every place that makes an error."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flatrun_core import errors
from flatrun_core.api.errors import _CODES, _TEXTS


@dataclass(frozen=True, order=True)
class Code:
    """One place that raises a code."""

    code: str
    status: int
    owner: str
    text: str


def errors_document(folders: Mapping[str, Path]) -> str:
    """docs/errors.md, less its first line; ``folders`` are the sources by whose they are."""
    parts = [
        "# Errors\n",
        'Every answer that is not a success has the body `{"error": "a sentence for people", "code": '
        '"UPPER_SNAKE"}`, and a few name further keys in the API document. Programs should look at `code`, '
        "which stays; the sentence may be worded better one day.\n",
        "| code | status | of | for example |\n|---|---|---|---|",
    ]
    by_code: dict[str, list[Code]] = {}
    for one in sorted(set(codes(folders))):
        by_code.setdefault(one.code, []).append(one)
    for code, places in sorted(by_code.items()):
        statuses = ", ".join(str(status) for status in sorted({place.status for place in places}))
        owners = ", ".join(sorted({place.owner for place in places}))
        text = next((place.text for place in places if place.text), "").replace("|", "\\|")
        parts.append(f"| `{code}` | {statuses} | {owners} | {text} |")
    return "\n".join(parts) + "\n"


def codes(folders: Mapping[str, Path]) -> Iterator[Code]:
    """Every code of the error classes, and every one that is given where an error is made."""
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.FlatrunError)
    }
    for kind in classes.values():
        yield Code(kind.code, kind.status, "core", "")
    for status, code in _CODES.items():
        yield Code(code, status, "core", _TEXTS.get(status, ""))
    for owner, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            if "testing" not in path.parts:
                yield from codes_in(path, owner, classes)


def codes_in(path: Path, owner: str, classes: dict[str, Any]) -> Iterator[Code]:
    """The codes that a file gives to errors it makes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            yield from code_of_class(node, owner, classes)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        kind = classes.get(node.func.id)
        given = [word.value for word in node.keywords if word.arg == "code"]
        if kind is not None and not given and node.args:
            yield Code(kind.code, kind.status, owner, sentence(node.args[0]))
        if kind is not None and given and isinstance(given[0], ast.Constant):
            yield Code(str(given[0].value), kind.status, owner, sentence(node.args[0]))


def code_of_class(node: ast.ClassDef, owner: str, classes: dict[str, Any]) -> Iterator[Code]:
    """The code of an error class that a plugin derives, with its docstring's words."""
    kinds = [classes[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in classes]
    if not kinds or owner == "core":
        return
    values: dict[str, Any] = {
        target.id: statement.value.value
        for statement in node.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    if "code" in values:
        words = (ast.get_docstring(node) or "").partition("\n")[0].partition("``: ")[2]
        yield Code(values["code"], values.get("status", kinds[0].status), owner, words)


def sentence(node: ast.expr) -> str:
    """A message as far as it is written down, with dots for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""
