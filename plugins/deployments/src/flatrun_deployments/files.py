"""Reading and writing in folders that belong to somebody else.

Reads never block and never leave the folder; writes leave the old file or the new one, whatever
happens in between.
"""

import errno
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from flatrun_core.disk import sync_folder
from flatrun_core.errors import Failed

TEMP_PREFIX: Final = ".flatrun.tmp-"
_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MAX_BACKUP: Final = 16 << 20
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

log = logging.getLogger(__name__)


class Unreadable(ValueError):
    """A file is there and cannot be used; ``reason`` is fit for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_bytes(folder: Path, name: str, limit: int) -> bytes:
    """The content of a regular file directly in ``folder``, at most ``limit`` bytes.

    A symlink is followed if it stays in the folder. Raises ``FileNotFoundError`` when there is none
    (a dangling link included) and ``Unreadable`` for other kinds, larger ones and refused ones.
    """
    path = folder / name
    try:
        # Looked at first, because opening some devices already does something.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable(f"{name} is not a regular file")
        descriptor = _open_inside(folder, path)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unreadable(f"{name} is not a regular file")
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise Unreadable(f"{name} cannot be read: {_reason(exc)}") from exc
    if len(data) > limit:
        raise Unreadable(f"{name} is larger than {limit // 1024} KiB")
    return data


def leaves(folder: Path, name: str) -> bool:
    """Whether a file of the folder is a symlink to somewhere else."""
    path = folder / name
    if not path.is_symlink():
        return False
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return True


def temporary_name(folder: Path) -> Path:
    """A new path in ``folder`` that start-up recognises as left over, should it be left over."""
    return folder / f"{TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"


def atomic_write(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace or make a file in one step, on disk before it is seen.

    Without ``mode`` an existing file keeps its own and a new one gets 0644; the owner stays. A
    symlink is refused. Raises ``Failed`` ``STORAGE_FULL`` or ``STORAGE_FAILED``.
    """
    with prepared(path, data, mode=mode) as put:
        put()


@contextmanager
def prepared(path: Path, data: bytes, *, mode: int | None = None) -> Iterator[Callable[[], None]]:
    """Write a file under another name in its folder; a call of what is given puts it in place.

    The bytes are on disk from the beginning, so that the call needs no room for them. Left without
    the call, nothing stays. Otherwise as ``atomic_write``.
    """
    temporary = temporary_name(path.parent)

    def put() -> None:
        with storage_errors(path.name):
            temporary.replace(path)
            sync_folder(path.parent)

    try:
        with storage_errors(path.name):
            before = _existing(path)
            _write_temporary(temporary, data, _mode(before, mode), before)
        yield put
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn ``OSError`` of a write into the project's errors; ``what`` is named in the text."""
    try:
        yield
    except OSError as exc:
        log.warning("writing %s failed: %s", what, exc)
        if exc.errno in _FULL:
            raise Failed(
                f"No space left on the disk of the deployments; {what} was not written", code="STORAGE_FULL"
            ) from exc
        raise Failed(f"{what} could not be written: {_reason(exc)}", code="STORAGE_FAILED") from exc


def backup(path: Path, now: datetime, keep: int = 5) -> Path | None:
    """Copy a file to ``<name>.bak.<YYYYMMDDhhmmss>`` and keep the newest ``keep`` copies.

    None when there is nothing to copy. A second copy within a second gets the next free second.
    """
    with storage_errors(path.name):
        try:
            data = read_bytes(path.parent, path.name, _MAX_BACKUP)
        except FileNotFoundError:
            return None
        except Unreadable as exc:
            raise Failed(f"No copy could be kept: {exc.reason}", code="STORAGE_FAILED") from exc
        taken = {entry.name for entry in path.parent.glob(f"{_escaped(path.name)}.bak.*")}
        stamp = int(now.strftime("%Y%m%d%H%M%S"))
        while f"{path.name}.bak.{stamp}" in taken:
            stamp += 1
        copy = path.with_name(f"{path.name}.bak.{stamp}")
        atomic_write(copy, data, mode=stat.S_IMODE(path.stat().st_mode))
        for old in sorted({*taken, copy.name}, reverse=True)[keep:]:
            with suppress(FileNotFoundError):
                path.with_name(old).unlink()
        return copy


def _open_inside(folder: Path, path: Path) -> int:
    try:
        return os.open(path, _READ_FLAGS | os.O_NOFOLLOW)
    except OSError as exc:
        if exc.errno != errno.ELOOP:
            raise
    descriptor = os.open(path, _READ_FLAGS)
    # Asked of the open file and not of the path, so that nobody can swap the link in between.
    real = Path(f"/proc/self/fd/{descriptor}").resolve()
    if not real.is_relative_to(folder.resolve()):
        os.close(descriptor)
        raise Unreadable(f"{path.name} is a link that leaves the deployment's folder")
    return descriptor


def _existing(path: Path) -> os.stat_result | None:
    try:
        before = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(before.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return before


def _mode(before: os.stat_result | None, mode: int | None) -> int:
    if mode is not None:
        return mode
    return stat.S_IMODE(before.st_mode) if before else 0o644


def _write_temporary(path: Path, data: bytes, mode: int, before: os.stat_result | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        if before is not None:
            # Only root can give files away; for anybody else the new file is simply their own.
            with suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())


def _reason(exc: OSError) -> str:
    return (exc.strerror or "input or output error").lower()


def _escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)
