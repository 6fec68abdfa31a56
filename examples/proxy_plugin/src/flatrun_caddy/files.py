"""The Caddyfile on the disk: read, staged beside its place, swapped in as a whole."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flatrun_core import Failed
from flatrun_core.disk import give_to_owner_of, sync_folder

_STAGED: Final = ".Caddyfile-"


def read(file: Path) -> str | None:
    """The text of a file, None without one; what is no UTF-8 is told from every text of ours."""
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise Failed(f"{file} cannot be read: {exc.strerror}", code="PROXY_CONFIG_FAILED") from exc


@contextmanager
def staged(folder: Path, text: str) -> Iterator[Path]:
    """A file with this text beside the Caddyfile; gone afterwards unless it was moved."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_STAGED, dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(handle, 0o644)  # Caddy may run as a user of its own
            give_to_owner_of(folder, handle)
            os.fsync(handle)
    except OSError as exc:
        raise Failed(f"{folder} cannot be written: {exc.strerror}", code="PROXY_CONFIG_FAILED") from exc
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def swap(file: Path, text: str) -> None:
    """Put a text in a file's place, all of it or nothing."""
    with staged(file.parent, text) as new:
        try:
            new.replace(file)
            sync_folder(file.parent)
        except OSError as exc:
            raise Failed(f"{file} cannot be replaced: {exc.strerror}", code="PROXY_CONFIG_FAILED") from exc


def set_aside(file: Path) -> Path:
    """Copy a file to a name that its content gives it; where the copy is."""
    data = file.read_bytes()
    copy = file.with_name(f"{file.name}.edited-{hashlib.sha256(data).hexdigest()[:8]}")
    copy.write_bytes(data)
    return copy


def clear_staged(folder: Path) -> None:
    """Remove what a panel that was killed left behind."""
    for left in folder.glob(f"{_STAGED}*"):
        left.unlink(missing_ok=True)
