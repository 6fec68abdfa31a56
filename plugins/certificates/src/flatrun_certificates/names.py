"""Names of certificates as they come in a path."""

from typing import Final

from flatrun_core import Invalid

_LONGEST: Final = 255  # of a file's name, in bytes


def lineage_in_path(text: str) -> str:
    """The name, in lower case; 400 ``INVALID_NAME`` for what can be no folder's."""
    odd = not text.isprintable() or "/" in text or "\\" in text or text.startswith(".")
    if odd or not 0 < len(text.encode("utf-8", "replace")) <= _LONGEST:
        raise Invalid("Not the name of a certificate", code="INVALID_NAME")
    return text.lower()
