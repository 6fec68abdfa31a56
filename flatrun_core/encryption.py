"""Encryption of kept secrets with the panel's key, by Fernet of the library cryptography."""

import base64
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flatrun_core.errors import Failed
from flatrun_core.key_files import obtain

FILE: Final = "secret.key"


class PanelEncryption:
    """Implements ``ENCRYPTION``; the key is read, or made, at the first use."""

    def __init__(self, secret_key: str, folder: Path) -> None:
        self._secret_key = secret_key
        self._folder = folder
        self._ciphers: dict[str, Fernet] = {}

    def encrypt(self, purpose: str, text: str) -> str:
        """See the port."""
        return self._cipher(purpose).encrypt(text.encode()).decode()

    def decrypt(self, purpose: str, encrypted: str) -> str:
        """See the port."""
        try:
            return self._cipher(purpose).decrypt(encrypted.encode()).decode()
        except InvalidToken as exc:
            raise Failed(
                "A kept secret cannot be read: the panel's secret key is not the one it was encrypted with",
                code="SECRET_UNREADABLE",
            ) from exc

    @cached_property
    def _key(self) -> bytes:
        return self._secret_key.encode() or obtain(self._folder / FILE)

    def _cipher(self, purpose: str) -> Fernet:
        found = self._ciphers.get(purpose)
        if found is None:
            info = f"flatrun.{purpose}".encode()
            derived = HKDF(SHA256(), length=32, salt=None, info=info).derive(self._key)
            found = self._ciphers[purpose] = Fernet(base64.urlsafe_b64encode(derived))
        return found
