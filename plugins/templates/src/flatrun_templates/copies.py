"""Copies of shipped templates on disk: made when missing, restored on request.

A copy appears whole or not at all, and what a person edited is kept as ``.bak``. One process at a
time writes, by a lock on a file beside the copies that ends with its process.
"""

import errno
import fcntl
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from flatrun_core import Failed, FlatrunError, Unavailable
from flatrun_core.disk import sync_folder
from flatrun_templates import disk
from flatrun_templates.paths import COMPOSE_NAME

KEPT_BACKUPS: Final = 5
_FILES: Final = (COMPOSE_NAME, disk.METADATA_NAME)
_TEMPORARY: Final = ".flatrun.tmp-"
_LOCK: Final = ".lock"
_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_WAIT_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
# The panel keeps its state to itself.
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600

log = logging.getLogger(__name__)


class Copies:
    """The copies in ``folder()`` of the templates ``shipped``, by id."""

    def __init__(self, folder: Callable[[], Path], shipped: Mapping[str, Path]) -> None:
        self._folder = folder
        self._shipped = shipped
        self._lock = threading.Lock()
        self._told = ""

    def add(self, ids: Sequence[str]) -> bool:
        """Copy what is missing of ``ids``; False, with the reason in the log, when that failed.

        The shipped ones serve as they are then, so this never raises.
        """
        try:
            with self._writing() as folder:
                for template_id in ids:
                    if not os.path.lexists(folder / template_id):
                        _copy(self._shipped[template_id], folder / template_id)
        except FlatrunError as exc:
            # Each look at the list comes here, and the log is to tell it once.
            if exc.message != self._told:
                log.warning("the built-in templates are served from the program: %s", exc.message)
            self._told = exc.message
            return False
        self._told = ""
        return True

    def restore(self) -> None:
        """Every shipped template as it was shipped; edited files are kept as ``<file>.bak``.

        Raises ``Failed`` ``STORAGE_FULL`` or ``STORAGE_FAILED``; what was not restored by then is as
        it was. ``Unavailable`` when another process writes for more than ten seconds.
        """
        with self._writing() as folder:
            for template_id, source in self._shipped.items():
                _restore(source, folder / template_id)

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        with self._lock, _storage_errors():
            folder = self._folder()
            folder.parent.parent.mkdir(parents=True, exist_ok=True)
            for path in (folder.parent, folder):
                path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            handle = os.open(folder / _LOCK, _LOCK_FLAGS, _FILE_MODE)
            try:
                _take(handle)
                _clear(folder)
                yield folder
            finally:
                os.close(handle)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        log.debug("writing templates failed", exc_info=exc)
        if exc.errno in _FULL:
            raise Failed(
                "No space left on the disk of the deployments; the templates were not written",
                code="STORAGE_FULL",
            ) from exc
        reason = (exc.strerror or "input or output error").lower()
        raise Failed(f"The folder of templates cannot be written: {reason}", code="STORAGE_FAILED") from exc


def _take(handle: int) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() > deadline:
                raise Unavailable("Another process is writing the templates; try again") from exc
            time.sleep(_POLL_SECONDS)
        else:
            return


def _clear(folder: Path) -> None:
    """Remove what a crash left half made; under the lock it is nobody's."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}")
    temporary.mkdir(mode=_FOLDER_MODE)
    try:
        for name in _FILES:
            with suppress(FileNotFoundError):
                _write(temporary / name, (source / name).read_bytes())
        sync_folder(temporary)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(target.parent)


def _restore(source: Path, target: Path) -> None:
    if not target.is_dir() or target.is_symlink():
        _set_aside(target)
        target.unlink(missing_ok=True)
        _copy(source, target)
        return
    for name in _FILES:
        shipped = (source / name).read_bytes() if (source / name).exists() else None
        if shipped is not None and not _holds(target, name, shipped):
            _replace(target / name, shipped)


def _holds(folder: Path, name: str, data: bytes) -> bool:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return disk.read_file(handle, name) == data
    except disk.Refused:
        return False
    finally:
        os.close(handle)


def _replace(path: Path, data: bytes) -> None:
    # Written before the old one is touched, so that a full disk changes nothing.
    holder = path.parent.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}")
    holder.mkdir(mode=_FOLDER_MODE)
    try:
        _write(holder / path.name, data)
        _set_aside(path)
        (holder / path.name).replace(path)
    finally:
        shutil.rmtree(holder, ignore_errors=True)
    sync_folder(path.parent)


def _set_aside(path: Path) -> None:
    """Keep whatever has this name as ``.bak``, earlier ones as ``.bak.1`` and on."""
    if not os.path.lexists(path):
        return
    newest = path.with_name(f"{path.name}.bak")
    if os.path.lexists(newest):
        for number in range(KEPT_BACKUPS - 1, 0, -1):
            older = newest if number == 1 else path.with_name(f"{path.name}.bak.{number - 1}")
            if os.path.lexists(older):
                older.rename(path.with_name(f"{path.name}.bak.{number}"))
    try:
        # A second name, so that the first never goes missing; of a link it is the link itself.
        os.link(path, newest, follow_symlinks=False)
    except OSError:
        path.rename(newest)


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, _FILE_MODE), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
