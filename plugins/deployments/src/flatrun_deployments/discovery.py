"""Finding deployments on disk, again and again, without reading again what has not changed.

A folder is trusted as long as neither it nor its few files have changed by inode, size and both
times. Times have a grain: what changed just before it was read could change once more within
the same tick, so young entries are read again (as git does with its index). Unchanged bytes give
the same ``Folder`` object, and nothing is parsed twice.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeGuard

from flatrun_core.errors import Failed
from flatrun_deployments.compose_file import CANDIDATES, ComposeFile
from flatrun_deployments.folder import (
    CREATING_MARKER,
    OVERRIDE,
    REMOVED_MARKER,
    Folder,
    Raw,
    Signature,
    build,
    gather,
    has_marker,
    moment,
    signature,
)
from flatrun_deployments.names import FOUND_NAME

__all__ = ["CREATING_MARKER", "REMOVED_MARKER", "Discovery", "Folder", "is_removed", "is_unfinished"]

PANEL_FOLDER: Final = ".flatrun"
_GRAIN: Final = 100_000_000
# File systems that keep whole seconds, or every second one.
_COARSE_GRAIN: Final = 2_100_000_000
_SECOND: Final = 1_000_000_000
_ATTEMPTS: Final = 3

log = logging.getLogger(__name__)


def is_removed(path: Path) -> bool:
    """Whether the folder was deleted through the panel with its files kept."""
    return os.path.lexists(path / REMOVED_MARKER)


def is_unfinished(path: Path) -> bool:
    """Whether the folder is being made, or was when the panel died."""
    return os.path.lexists(path / CREATING_MARKER)


@dataclass(slots=True)
class _Entry:
    """What is known of a folder; ``watched`` are its own signature and those of its files.

    None when they say nothing, and the folder has to be read again in any case.
    """

    watched: list[tuple[bytes, Signature]] | None
    raw: Raw | None
    folder: Folder | None


class Discovery:
    """The deployments below one root; safe to use from many threads.

    ``root`` is asked at each call. Nothing is read before the first one.
    """

    def __init__(self, root: Callable[[], Path]) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def scan(self) -> list[Folder]:
        """Every deployment by name, infrastructure included; makes a missing root.

        Raises ``Failed`` ``DEPLOYMENTS_UNREADABLE`` when the root cannot be read.
        """
        root = self._root()
        try:
            root.mkdir(parents=True, exist_ok=True)
            paths = _candidates(root)
        except OSError as exc:
            raise _unreadable(exc) from exc
        with self._lock:
            before, self._entries = self._entries, {}
            found = [self._current(path, before.get(path)) for path in paths]
        return [folder for folder in found if folder is not None]

    def get(self, name: str) -> Folder | None:
        """One deployment; None when it is absent, removed, being made or has no compose file."""
        if not FOUND_NAME.fullmatch(name):
            return None
        root = self._root()
        path = os.path.join(root, name)  # noqa: PTH118 - the key of the cache is text
        if not os.path.isdir(path) or (os.path.islink(path) and not _stays(root, path)):  # noqa: PTH112, PTH114
            return None
        with self._lock:
            return self._current(path, self._entries.pop(path, None))

    def load(self, path: Path) -> Folder | None:
        """A folder read anew, whatever markers are in it; None without a compose file."""
        try:
            raw = gather(path)
        except FileNotFoundError:
            return None
        except OSError as exc:
            return _closed(os.fspath(path), exc)
        return build(raw) if raw else None

    def unfinished(self) -> list[Path]:
        """Folders whose creation was cut off, by name; for start-up."""
        try:
            return [path for path in map(Path, _candidates(self._root())) if is_unfinished(path)]
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise _unreadable(exc) from exc

    def _current(self, path: str, entry: _Entry | None) -> Folder | None:
        if entry is None or not _holds(entry):
            entry = _read(path, entry)
        if entry is None:
            return None
        self._entries[path] = entry
        return entry.folder


def _holds(entry: _Entry) -> bool:
    """Whether nothing has changed; this runs for each folder at each request."""
    if entry.watched is None:
        return False
    look = os.stat
    try:
        for path, (inode, size, modified, changed) in entry.watched:
            now = look(path)
            if (
                now.st_ctime_ns != changed
                or now.st_mtime_ns != modified
                or now.st_size != size
                or now.st_ino != inode
            ):
                return False
    except OSError:
        return False
    return True


def _read(path: str, before: _Entry | None) -> _Entry | None:
    for _ in range(_ATTEMPTS):
        now = time.time_ns()
        try:
            own = signature(Path(path).stat())
            raw = None if has_marker(Path(path)) else gather(Path(path))
        except FileNotFoundError:
            # The folder, or a file in it, has just gone or is being replaced.
            continue
        except OSError as exc:
            return _Entry(None, None, _closed(path, exc))
        return _entry(path, own, raw, now, before)
    return None


def _entry(path: str, own: Signature, raw: Raw | None, now: int, before: _Entry | None) -> _Entry:
    signatures: dict[str, Signature | None] = {path: own}
    folder = None
    if raw is not None:
        folder = before.folder if before and before.raw == raw and before.folder else build(raw)
        signatures.update((f"{path}/{name}", known) for name, known in raw.signatures.items())
    watched = [(os.fsencode(file), known) for file, known in signatures.items() if _is_settled(known, now)]
    settled = len(watched) == len(signatures) and not (raw and _has_link(raw))
    return _Entry(watched if settled else None, raw, folder)


def _has_link(raw: Raw) -> bool:
    """Where links lead can change without a trace in the folder, so such folders are read each time."""
    names = [*raw.files, OVERRIDE, *filter(None, [raw.user_override])]
    return any(os.path.islink(raw.path / name) for name in names)  # noqa: PTH114 - see _holds


def _is_settled(known: Signature | None, now: int) -> TypeGuard[Signature]:
    if known is None:
        return False
    _, _, modified, changed = known
    grain = _COARSE_GRAIN if changed % _SECOND == modified % _SECOND == 0 else _GRAIN
    # A change time from the future means a clock that was put back: the next change gets another one.
    return abs(now - changed) > grain


def _candidates(root: Path) -> list[str]:
    """The folders that may be deployments, sorted by name."""
    found = []
    with os.scandir(root) as entries:
        for entry in entries:
            if FOUND_NAME.fullmatch(entry.name) and _is_folder(root, entry):
                found.append(entry)
    return [entry.path for entry in sorted(found, key=lambda entry: entry.name)]


def _is_folder(root: Path, entry: os.DirEntry[str]) -> bool:
    try:
        if entry.is_symlink():
            return entry.is_dir() and _stays(root, entry.path)
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _stays(root: Path, path: str) -> bool:
    """Whether a symlinked folder is below the root, and not in the panel's own folder."""
    try:
        base = root.resolve()
        parts = Path(path).resolve().relative_to(base).parts
    except (OSError, RuntimeError, ValueError):
        return False
    return bool(parts) and parts[0] != PANEL_FOLDER


def _closed(path: str, exc: OSError) -> Folder:
    """A folder that cannot be looked into; hiding it would look as if it had been deleted."""
    where = Path(path)
    reason = f"the folder cannot be read: {(exc.strerror or 'input or output error').lower()}"
    modified = moment(_modified(where))
    return Folder(
        name=where.name,
        path=where,
        compose=ComposeFile.unusable(where / CANDIDATES[0], reason),
        metadata=None,
        problem=reason,
        blocked=reason,
        created_at=modified,
        updated_at=modified,
        has_service_yml=False,
        override=where / OVERRIDE,
        user_override=None,
        env_files=(),
        primary=None,
        services=(),
        host_ports=frozenset(),
    )


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _unreadable(exc: OSError) -> Failed:
    log.error("the deployments folder cannot be read: %s", exc)
    reason = (exc.strerror or "input or output error").lower()
    return Failed(f"The deployments folder cannot be read: {reason}", code="DEPLOYMENTS_UNREADABLE")
