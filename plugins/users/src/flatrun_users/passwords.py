"""Passwords: argon2id with the parameters that argon2-cffi recommends.

One computation takes 64 MiB and some tens of milliseconds, so only as many run at once as there are
processors; the others wait.
"""

import base64
import os
import secrets
import threading
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError, VerifyMismatchError
from argon2.low_level import Type

from flatrun_core import Invalid, ServiceKey

SHORTEST: Final = 8  # characters
LONGEST: Final = 256  # characters


def check_password(text: str) -> str:
    """The password; 400 ``WEAK_PASSWORD`` unless it is 8 to 256 characters that can be encoded."""
    if len(text) < SHORTEST or not _possible(text):
        message = f"The password must have {SHORTEST} to {LONGEST} characters"
        raise Invalid(message, code="WEAK_PASSWORD")
    return text


class Passwords:
    """Hashes and compares. Safe to call from any thread."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._at_once = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))
        self._nobodys = _made_up(self._hasher)

    def hash(self, text: str) -> str:
        """What to keep of a password; ``ValueError`` for one that ``check_password`` refuses as too long."""
        if not _possible(text):
            raise ValueError("no account may have such a password")
        with self._at_once:
            return self._hasher.hash(text)

    def matches(self, kept: str, text: str) -> bool:
        """Whether this is the password; costs the same for every text and every answer."""
        if not _possible(text):
            self.spend()
            return False
        with self._at_once:
            return self._verify(kept, text)

    def outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than a new one would be."""
        return self._hasher.check_needs_rehash(kept)

    def spend(self) -> None:
        """Cost as much as ``matches`` for a name that nobody has, so that time does not tell of it."""
        with self._at_once:
            self._verify(self._nobodys, "")

    def _verify(self, kept: str, text: str) -> bool:
        try:
            return self._hasher.verify(kept, text)
        except VerifyMismatchError:
            return False
        except (Argon2Error, InvalidHashError):  # what is kept is no hash: nobody can have that password
            return False


def _possible(text: str) -> bool:
    if len(text) > LONGEST:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _made_up(hasher: PasswordHasher) -> str:
    """A hash in the form of the library that no password is known for, made without computing one."""
    if hasher.type is not Type.ID:
        raise ValueError("passwords are hashed by argon2id only")
    parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, digest = _encoded(hasher.salt_len), _encoded(hasher.hash_len)
    return f"$argon2id$v=19${parameters}${salt}${digest}"


def _encoded(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")


PASSWORDS: ServiceKey[Passwords] = ServiceKey("users.passwords", "users")
