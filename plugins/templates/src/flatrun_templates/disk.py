"""Reading a template's files: never through a link, never a device or a pipe, never without a limit."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from flatrun_templates.paths import COMPOSE_NAME

METADATA_NAME: Final = "metadata.yml"
MAX_SIZE: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY

# What changes when somebody touches the folder or one of its files; None stands for what is not there.
Signature = tuple[tuple[int, ...] | None, ...]


class Refused(ValueError):
    """A file or folder that cannot be used; the text is fit for people."""


def signature(folder: str) -> Signature:
    """What a template's folder and its two files look like from outside."""
    try:
        found = os.lstat(folder)
    except OSError:
        return (None,)
    if not stat.S_ISDIR(found.st_mode):
        return ((found.st_mode, found.st_ino),)
    inside = (_look(f"{folder}/{COMPOSE_NAME}"), _look(f"{folder}/{METADATA_NAME}"))
    return (found.st_mode, found.st_ino), *inside


def newest(sign: Signature) -> int:
    """The latest moment, in nanoseconds, at which one of the files changed."""
    return max((moment for part in sign[1:] if part for moment in part[-2:]), default=0)


def read_files(folder: Path) -> tuple[bytes | None, bytes | Refused | None]:
    """The compose file and the metadata, None for what is absent; raises ``Refused`` for the former.

    A metadata file that is refused is no reason to lose the template, so it is told instead.
    """
    try:
        handle = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return None, None
    except OSError as exc:
        raise Refused(_why("it", exc)) from exc
    try:
        compose = read_file(handle, COMPOSE_NAME)
        try:
            return compose, read_file(handle, METADATA_NAME)
        except Refused as exc:
            return compose, exc
    finally:
        os.close(handle)


def read_file(folder: int, name: str) -> bytes | None:
    """A regular file of an open folder, at most 1 MiB; None when it is absent. Raises ``Refused``."""
    try:
        # Looked at first, because opening some devices already does something.
        _check_kind(name, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
            _check_kind(name, os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise Refused(_why(name, exc)) from exc
    if len(data) > MAX_SIZE:
        raise Refused(f"{name} is larger than {MAX_SIZE >> 10} KiB")
    return data


def as_text(name: str, data: bytes) -> str:
    """A file's text, without a byte order mark; raises ``Refused`` when it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Refused(f"{name} is not UTF-8 text") from exc


def _look(path: str) -> tuple[int, ...] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _check_kind(name: str, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise Refused(f"{name} is a symbolic link")
    if not stat.S_ISREG(mode):
        raise Refused(f"{name} is not a regular file")


def _why(name: str, exc: OSError) -> str:
    if exc.errno in (errno.ELOOP, errno.ENOTDIR):
        return f"{name} is a symbolic link, or not a folder"
    return f"{name} cannot be read: {(exc.strerror or 'input or output error').lower()}"
