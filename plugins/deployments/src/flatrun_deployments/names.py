"""Names of deployments, and paths that must not leave a folder."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from flatrun_core.errors import Invalid

NEW_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
FOUND_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_new(name: object, reserved: Collection[str] = ()) -> str:
    """The name of a deployment to be created.

    ``reserved`` are names that plugins keep for themselves; one that ends with ``*`` is a prefix.
    Raises ``Invalid`` ``INVALID_NAME`` or ``RESERVED_NAME``.
    """
    if not isinstance(name, str) or not NEW_NAME.fullmatch(name):
        raise Invalid(
            "The name must be 1 to 63 lower-case letters, digits or hyphens, "
            "and begin and end with a letter or digit",
            code="INVALID_NAME",
        )
    if any(_reserves(entry, name) for entry in reserved):
        raise Invalid(f"The name '{name}' is kept for the panel itself", code="RESERVED_NAME")
    return name


def check_found(name: object) -> str:
    """The name of an existing deployment; raises ``Invalid`` ``INVALID_NAME``."""
    if not isinstance(name, str) or not FOUND_NAME.fullmatch(name):
        raise Invalid("This is not the name of a deployment", code="INVALID_NAME")
    return name


def inside(root: Path, *parts: str) -> Path:
    """The resolved path of ``parts`` strictly below ``root``.

    Raises ``Invalid`` ``INVALID_PATH`` for absolute parts, ``..``, NUL and symlinks that leave.
    """
    refused = Invalid("The path leaves the folder of the deployment", code="INVALID_PATH")
    if not parts or any("\0" in part or part.startswith("/") or ".." in part.split("/") for part in parts):
        raise refused
    try:
        base = root.resolve()
        path = base.joinpath(*parts).resolve()
    except (OSError, RuntimeError, UnicodeError) as exc:
        raise refused from exc
    if path == base or not path.is_relative_to(base):
        raise refused
    return path


def _reserves(entry: str, name: str) -> bool:
    return name.startswith(entry[:-1]) if entry.endswith("*") else name == entry
