"""What stands in the folder of generated files: ours, ours but changed by somebody, somebody's own."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flatrun_nginx.rendering import is_ours, is_untouched

SUFFIXES: Final = (".conf", ".main")
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A file that nginx includes. ``text`` is None where it cannot be read as text."""

    name: str
    text: str | None
    ours: bool
    untouched: bool
    stamp: _Stamp
    modified: float


class LiveFolder:
    """Reads the folder; a file whose inode, size and time are the same is not read again."""

    def __init__(self) -> None:
        self._known: dict[str, LiveFile] = {}
        self._folder: Path | None = None

    def read(self, folder: Path) -> Mapping[str, LiveFile]:
        """Every file by name. Raises ``OSError``."""
        if folder != self._folder:
            self._known, self._folder = {}, folder
        found = {}
        for path, stamp, modified in _listed(folder):
            known = self._known.get(path.name)
            if known is None or known.stamp != stamp:
                known = _look(path, stamp, modified)
            found[path.name] = known
        self._known = found
        return dict(found)


def _listed(folder: Path) -> list[tuple[Path, _Stamp, float]]:
    listed = []
    with os.scandir(folder) as entries:
        for entry in entries:
            # nginx's own pattern leaves out names that begin with a dot.
            if not entry.name.endswith(SUFFIXES) or entry.name.startswith("."):
                continue
            stat = entry.stat(follow_symlinks=True)
            stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            listed.append((Path(entry.path), stamp, stat.st_mtime))
    return listed


def _look(path: Path, stamp: _Stamp, modified: float) -> LiveFile:
    try:
        text: str | None = path.read_text("utf-8")
    except (UnicodeDecodeError, OSError):
        text = None
    ours = text is not None and is_ours(text)
    return LiveFile(path.name, text, ours, ours and is_untouched(text or ""), stamp, modified)
