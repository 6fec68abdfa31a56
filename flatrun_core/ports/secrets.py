"""What needs the panel's own keys: signing what is handed out, encrypting what is kept."""

from typing import Any, Protocol

from flatrun_core.services import ServiceKey


class Signing(Protocol):
    """Signs small JSON values with the panel's signing key; each purpose has a salt of its own.

    The key is ``auth.secret_key``, else ``<root>/.flatrun/signing.key``, made at the first use with
    mode 0600. What was signed is readable by everybody, only not changeable.
    """

    def sign(self, purpose: str, value: Any) -> str:
        """A URL-safe text that carries the value and the time."""

    def read(self, purpose: str, text: str, *, max_age: float | None = None) -> Any:
        """The value, or None for a text of another key or purpose, changed, or older than ``max_age`` s."""


SIGNING: ServiceKey[Signing] = ServiceKey("signing", "core")


class Encryption(Protocol):
    """Encrypts secrets that the panel must be able to read again; each purpose has a key of its own.

    The keys come from ``FLATRUN_SECRET_KEY``, else from ``<root>/.flatrun/secret.key``, made at the
    first use with mode 0600.
    """

    def encrypt(self, purpose: str, text: str) -> str:
        """ASCII text for the database; the same text encrypts differently each time."""

    def decrypt(self, purpose: str, encrypted: str) -> str:
        """The text again; 500 ``SECRET_UNREADABLE`` when the key is not the one it was made with."""


ENCRYPTION: ServiceKey[Encryption] = ServiceKey("encryption", "core")
