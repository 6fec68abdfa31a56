"""What a request brought, made fit to be kept: bounded, and harmless wherever it is shown."""

import re
import unicodedata
from typing import Final

REDACTED: Final = "[REDACTED]"

# What turns the direction of text, breaks lines or is not seen: terminals, spreadsheets and log viewers
# act on it. Lone halves of characters are taken by no database.
_UNSEEN: Final = "\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
_HARMFUL: Final = re.compile(f"[\x00-\x1f{_UNSEEN}]")
_HARMFUL_IN_LINES: Final = re.compile(f"[\x00-\x08\x0b-\x1f{_UNSEEN}]")
_USER_INFO: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s/?#]+@")
_IGNORED: Final = dict.fromkeys(map(ord, "_-. \t"))


def clean(text: str, limit: int) -> str:
    """At most ``limit`` characters, the harmful ones replaced."""
    return _HARMFUL.sub("\N{REPLACEMENT CHARACTER}", text[:limit])


def clean_lines(text: str) -> str:
    """The text with the harmful characters replaced; line ends and tabs stay."""
    return _HARMFUL_IN_LINES.sub("\N{REPLACEMENT CHARACTER}", text)


def without_user_info(text: str) -> str:
    """The text with the name and password of each URL in it redacted."""
    return _USER_INFO.sub(rf"\1{REDACTED}@", text) if "://" in text else text


def bare(name: str) -> str:
    """A key as redaction compares it: case, ``_``, ``-``, ``.`` and spaces do not count."""
    plain = name if name.isascii() else unicodedata.normalize("NFKC", name)
    return plain.casefold().translate(_IGNORED)
