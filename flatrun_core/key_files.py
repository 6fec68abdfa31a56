"""Keys that nobody chose: 32 random bytes each in a file that only the panel's user reads."""

import base64
import binascii
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from flatrun_core.disk import give_to_owner_of, sync_folder
from flatrun_core.errors import Failed

SIZE: Final = 32


def obtain(path: Path) -> bytes:
    """The key in a file; made, with mode 0600, when there is no such file.

    ``obtain(path).hex()`` is 64 characters for a token. Of several processes that make it at once
    all get the same one. A file that holds no key raises ``Failed`` ``KEY_UNREADABLE`` and is never
    overwritten: it may be damaged and still be saved.
    """
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise Failed(f"The key file {path.name} cannot be used: {reason}", code="KEY_UNREADABLE") from exc


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    handle = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            give_to_owner_of(path.parent, handle)
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(SIZE)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces the key that somebody else made meanwhile.
        with suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def _read(path: Path) -> bytes:
    try:
        # Strictly: a decoder that passes over foreign characters takes a damaged key for another one.
        key = base64.b64decode(path.read_bytes().strip(), altchars=b"-_", validate=True)
    except binascii.Error:
        key = b""
    if len(key) != SIZE:
        raise Failed(
            f"The key file {path.name} holds no key: put the right one back from a backup",
            code="KEY_UNREADABLE",
        )
    return key
