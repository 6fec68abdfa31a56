"""API keys: their text, which only their owner ever sees, and what is kept in its place."""

import hashlib
import secrets
from typing import Final

KEY_PREFIX: Final = "flatrun_"


def new_key() -> str:
    """The text of a new key, of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def key_digest(text: str) -> str:
    """What is stored of a key and looked up: its SHA-256, 64 hexadecimal digits.

    Without salt or stretching, because 256 random bits cannot be guessed; so one indexed look finds it.
    """
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def shown_prefix(text: str) -> str:
    """The part of a key by which people recognise it in lists."""
    return text[:16] + "..."
