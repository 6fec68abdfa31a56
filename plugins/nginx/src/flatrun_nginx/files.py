"""What the transaction does to the disk, one small step each."""

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from flatrun_core.disk import give_to_owner_of, sync_folder

PUBLIC: Final = 0o644
PRIVATE: Final = 0o600


class Files:
    """Every method raises ``OSError``."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder, readable for the processes of nginx."""
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; a copy where the disk cannot."""
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:
            shutil.copy2(source, target)

    def write(self, path: Path, text: str, mode: int = PUBLIC) -> None:
        """Write a new file."""
        handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            give_to_owner_of(path.parent, handle)
            os.fchmod(handle, mode)
            file.write(text)

    def sync(self, path: Path) -> None:
        """Have a file's bytes on the disk."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync_folder(self, folder: Path) -> None:
        """Have a folder's names on the disk."""
        sync_folder(folder)

    def replace(self, source: Path, target: Path) -> None:
        """Move a file to its place, whatever was there."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file; absent is no error."""
        path.unlink(missing_ok=True)

    def drop(self, folder: Path) -> None:
        """Remove a folder with all that is in it; what cannot be removed stays."""
        shutil.rmtree(folder, ignore_errors=True)

    def write_whole(self, path: Path, text: str, mode: int = PUBLIC) -> None:
        """Write a file that is there as a whole or, whatever happens, as it was."""
        part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        try:
            self.write(part, text, mode)
            self.sync(part)
            self.replace(part, path)
        except Exception:
            with suppress(OSError):
                part.unlink()
            raise
        self.sync_folder(path.parent)


def read_json(path: Path) -> Mapping[str, Any]:
    """The object in a file; empty when there is none or it holds no object."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
