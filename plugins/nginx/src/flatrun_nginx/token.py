"""The token that nginx shows the panel's internal routes."""

import hmac
from pathlib import Path
from typing import Final

from flatrun_core.key_files import obtain as obtain_key

FILE: Final = "nginx-internal.key"


def obtain(folder: Path, setting: str) -> str:
    """The token of the settings, else 64 hex digits that stand for a key in the panel's own folder.

    The key is made once. Raises ``Failed`` ``KEY_UNREADABLE`` where its file cannot be used; it is
    never overwritten.
    """
    return setting or obtain_key(folder / FILE).hex()


def equal(given: str, token: str) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())
