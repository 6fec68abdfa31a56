"""Generated subdomains: names that people can say, or short ones."""

import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Final

# Without letters and digits that look like one another.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz"
_SIGNS: Final = _LETTERS + "23456789"
_TRIES: Final = 50


def generate(style: str, domain: str, taken: Collection[str]) -> str:
    """A subdomain, such that with ``domain`` behind it the name is not ``taken``; one label."""
    make = _STYLES.get(style, _words)
    for _ in range(_TRIES):
        label = make()
        if f"{label}.{domain}" not in taken:
            return label
    return f"{make()}-{secrets.token_hex(8)}"


def _words() -> str:
    # Its lists of words take a while to load.
    from coolname import generate_slug  # noqa: PLC0415

    return str(generate_slug(2))


def _hex() -> str:
    return secrets.token_hex(6)


def _short() -> str:
    return secrets.choice(_LETTERS) + "".join(secrets.choice(_SIGNS) for _ in range(5))


_STYLES: Final[Mapping[str, Callable[[], str]]] = {"words": _words, "hex": _hex, "short": _short}
