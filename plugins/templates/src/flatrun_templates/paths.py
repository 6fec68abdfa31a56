"""Paths of files that a template adds to a deployment."""

from pathlib import PurePosixPath
from typing import Final

COMPOSE_NAME: Final = "docker-compose.yml"
_OWN: Final = (COMPOSE_NAME, "service.yml")
_OWN_PREFIXES: Final = (".flatrun", ".env.flatrun")
_MAX_PATH: Final = 1000
_MAX_PART: Final = 255


def inner_path(text: object) -> str | None:
    """A relative path in its plain form; None when it could leave the folder it is for.

    Refused are absolute paths, ``..``, backslashes, control characters and over-long ones.
    """
    if not isinstance(text, str) or text.startswith("/") or len(text) > _MAX_PATH:
        return None
    if "\\" in text or not text.isprintable() or text.endswith("/"):
        return None
    path = PurePosixPath(text)
    if not path.parts or any(part == ".." or len(part.encode()) > _MAX_PART for part in path.parts):
        return None
    return str(path)


def is_the_panels(path: str) -> bool:
    """Whether a path is one that the panel writes itself."""
    top = PurePosixPath(path).parts[0]
    return top in _OWN or top.startswith(_OWN_PREFIXES)
