"""The token that nginx shows the panel's internal routes."""

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from flatrun_core import Failed
from flatrun_core.disk import give_to_owner_of, sync_folder

FILE: Final = "nginx-internal.token"
_LENGTH: Final = 64  # characters, of 256 bits in hex


def obtain(folder: Path, setting: str) -> str:
    """The token of the settings, else the one in the panel's own folder, made once.

    Raises ``Failed`` ``KEY_UNREADABLE`` where the file cannot be used; it is never overwritten.
    """
    if setting:
        return setting
    path = folder / FILE
    try:
        if not path.exists():
            _make(path)
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise _unusable(str(exc)) from exc
    if len(token) != _LENGTH:
        raise _unusable("it holds no token")
    return token


def equal(given: str, token: str) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    handle = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            give_to_owner_of(path.parent, handle)
            file.write(secrets.token_hex(_LENGTH // 2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link never replaces the token that another process made meanwhile.
        with suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def _unusable(reason: str) -> Failed:
    return Failed(f"The token of nginx in {FILE} cannot be used: {reason}", code="KEY_UNREADABLE")
