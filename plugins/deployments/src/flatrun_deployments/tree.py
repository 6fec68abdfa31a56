"""Deleting folders that other programs have written to, and what a crash has left."""

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from flatrun_core.errors import Failed
from flatrun_deployments.files import TEMP_PREFIX, storage_errors, temporary_name

# Deeper folders are moved up before they are emptied, so that neither the stack nor the number of
# open files grows with the depth of what a container has made.
_MAX_DEPTH: Final = 64
_ATTEMPTS: Final = 3
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

log = logging.getLogger(__name__)


def remove_tree(root: Path, path: Path) -> None:
    """Delete a deployment's folder, directly in ``root``; an absent one is no error.

    The folder leaves the listing in one step, then it is emptied. Symlinks are deleted and never
    followed, a symlinked folder included. What could not be deleted is put back under its name, and
    ``Failed`` ``FILES_NOT_REMOVED`` raised.
    """
    if path.parent != root or path.name in ("", ".."):
        raise ValueError(f"{path.name!r} is not directly in the root")
    with storage_errors(path.name):
        try:
            if path.is_symlink() or not path.is_dir():
                path.unlink()
                return
            doomed = temporary_name(root)
            path.rename(doomed)
        except FileNotFoundError:
            return
    try:
        delete_folder(doomed)
    except OSError as exc:
        log.warning("the folder of %s could not be deleted: %s", path.name, exc)
        # Somebody may have made a new folder of that name; then the remains stay for start-up.
        if not path.exists():
            with suppress(OSError):
                doomed.rename(path)
        reason = (exc.strerror or "input or output error").lower()
        raise Failed(
            f"The files of '{path.name}' could not all be deleted: {reason}", code="FILES_NOT_REMOVED"
        ) from exc


def delete_folder(path: Path) -> None:
    """Delete a folder and all in it without following a symlink; raises ``OSError``."""
    for attempt in range(_ATTEMPTS):
        try:
            with _opened(path.name, _open_parent(path)) as top:
                while names := _names(top):
                    for name in names:
                        _delete(top, top, name, 0)
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as exc:
            # A program may still be writing into it.
            if exc.errno != errno.ENOTEMPTY or attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def remove_leftovers(root: Path) -> list[Path]:
    """Delete what interrupted writes and deletions left in ``root`` and in its direct folders.

    For start-up, before requests: what another living process is just writing stays. Returns what
    was deleted; what cannot be deleted is logged.
    """
    removed = []
    for path in _leftovers(root):
        try:
            if path.is_dir() and not path.is_symlink():
                delete_folder(path)
            else:
                path.unlink()
        except OSError as exc:
            log.warning("the left-over %s could not be deleted: %s", path.name, exc)
        else:
            removed.append(path)
    return removed


def _leftovers(root: Path) -> Iterator[Path]:
    for folder in [root, *(path for path in _entries(root) if _is_folder(path))]:
        yield from (path for path in _entries(folder) if _is_leftover(path.name))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as exc:
        log.debug("%s cannot be listed: %s", folder.name, exc)
        return []


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(TEMP_PREFIX)


def _is_leftover(name: str) -> bool:
    if not name.startswith(TEMP_PREFIX):
        return False
    owner = name.removeprefix(TEMP_PREFIX).partition("-")[0]
    return not owner.isdigit() or int(owner) == os.getpid() or not _is_alive(int(owner))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _open_parent(path: Path) -> int:
    return os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextmanager
def _opened(name: str, parent: int) -> Iterator[int]:
    """A folder opened below the descriptor ``parent``, which is closed too."""
    try:
        descriptor = _open_folder(name, parent)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    finally:
        os.close(parent)


def _names(folder: int) -> list[str]:
    return os.listdir(folder)


def _open_folder(name: str, parent: int) -> int:
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        _allow(name, parent)
        descriptor = os.open(name, _FOLDER, dir_fd=parent)
    if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
        with suppress(PermissionError):
            os.fchmod(descriptor, stat.S_IRWXU)
    return descriptor


def _allow(name: str, parent: int) -> None:
    """Give the owner of a folder access to it, through a descriptor that cannot be a symlink."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{handle}").chmod(stat.S_IRWXU)
    finally:
        os.close(handle)


def _delete(top: int, parent: int, name: str, depth: int) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
            return
        if depth >= _MAX_DEPTH:
            moved = temporary_name(Path()).name
            os.rename(name, moved, src_dir_fd=parent, dst_dir_fd=top)
            return
        with _opened(name, os.dup(parent)) as folder:
            for child in _names(folder):
                _delete(top, folder, child, depth + 1)
        os.rmdir(name, dir_fd=parent)
