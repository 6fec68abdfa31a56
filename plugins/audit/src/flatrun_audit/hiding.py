"""What betrays a secret: the name it stands under, or its own shape, in whatever text."""

import functools
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from flatrun_audit.texts import REDACTED, bare, without_user_info

SECRET: Final = (
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "sshkey",
    "authorization",
    "xauth",
    "bearer",
    "credential",
    "privatekey",
    "hmac",
    "signature",
    "cookie",
    "totp",
    "otpcode",
    "recoverycode",
)
"""A name with one of these in it, as ``bare`` writes it, hides its value."""

WORDS: Final = frozenset({"otp", "pin", "jwt", "sig", "pass"})
"""Short names that are part of ordinary words (``shipping``, ``footprint``): these hide as words alone."""

MAX_TEXT: Final = 100_000
"""Characters up to which a text that looks like JSON is read as such."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PANEL_KEY: Final = re.compile(r"flatrun_[A-Za-z0-9_-]{43,}")
_NAME: Final = re.compile(r"""(?:^|(?<=[?&;#,/\s="']))([^?&;#,/\s="']{1,100})=""")
_VALUE: Final = re.compile(r"""\"[^\"]*\"|'[^']*'|[^&;#\s]+""")


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether the value under this name is one."""
    name = name[:1000]
    plain = bare(name)
    if any(part in plain for part in SECRET) or plain in WORDS:
        return True
    words = _WORD.findall(name if name.isascii() else unicodedata.normalize("NFKC", name))
    return any(word.lower() in WORDS for word in words)


def hidden(text: str) -> str:
    """The text without the panel's keys, passwords in URLs, and values under a secret name (``pin=1``)."""
    if "flatrun_" in text:
        text = _PANEL_KEY.sub(REDACTED, text)
    parts, rest = [], 0
    for start, end in _secret_values(text):
        parts += [text[rest:start], REDACTED]
        rest = end
    return without_user_info("".join([*parts, text[rest:]]))


def secret_parts(text: str) -> Iterator[str]:
    """The values that ``hidden`` hides after a name."""
    yield from (text[start:end].strip("\"'") for start, end in _secret_values(text))


def json_within(text: str) -> Any:
    """The object or list that a text is the JSON of, None for any other text.

    Raises ``ValueError`` where it looks like one and is too long or too deep to be looked at.
    """
    start = text[:100].lstrip(" \t\r\n\ufeff")[:1]
    if start not in ("{", "[") or not start:
        return None
    if len(text) > MAX_TEXT:
        raise ValueError("it is too long")
    try:
        found = json.loads(text.lstrip("\ufeff"))
    except RecursionError as exc:
        raise ValueError("it is too deep") from exc
    except ValueError:
        return None
    return found if isinstance(found, Mapping | list) else None


def _secret_values(text: str) -> Iterator[tuple[int, int]]:
    """Where the values under a secret name are; what stands under another name may hold such a pair."""
    place = 0
    while (name := _NAME.search(text, place)) is not None:
        place = name.end()
        value = _VALUE.match(text, place) if _hides(name) else None
        if value is not None:
            place = value.end()
            yield value.span()


def _hides(found: re.Match[str]) -> bool:
    name = unquote_plus(found[1])
    in_query = found.string[found.start() - 1 : found.start()] in ("?", "&")
    return is_secret_name(name) or (in_query and bare(name) in ("key", "code"))
