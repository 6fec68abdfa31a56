"""Signing with the panel's key, by itsdangerous."""

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from itsdangerous import BadData, URLSafeTimedSerializer

from flatrun_core.key_files import obtain

FILE: Final = "signing.key"


class PanelSigning:
    """Implements ``SIGNING``; the key is read, or made, at the first use."""

    def __init__(self, secret_key: Callable[[], str], folder: Path) -> None:
        self._secret_key = secret_key
        self._folder = folder
        self._serializers: dict[str, URLSafeTimedSerializer] = {}

    def sign(self, purpose: str, value: Any) -> str:
        """See the port."""
        signed = self._serializer(purpose).dumps(value)
        return signed if isinstance(signed, str) else signed.decode()

    def read(self, purpose: str, text: str, *, max_age: float | None = None) -> Any:
        """See the port."""
        try:
            return self._serializer(purpose).loads(text, max_age=None if max_age is None else int(max_age))
        except (BadData, UnicodeError):
            return None

    @cached_property
    def _key(self) -> bytes:
        # auth.secret_key cannot be changed while the panel runs, so neither can this.
        return self._secret_key().encode() or obtain(self._folder / FILE)

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        found = self._serializers.get(purpose)
        if found is None:
            found = self._serializers[purpose] = URLSafeTimedSerializer(
                self._key, salt=f"flatrun.{purpose}", signer_kwargs={"digest_method": hashlib.sha256}
            )
        return found
