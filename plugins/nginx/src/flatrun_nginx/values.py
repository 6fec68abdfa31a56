"""Every value that enters a configuration file goes through one of these: checked, then quoted.

What a template prints must be ``Checked``; plain text is refused, so a forgotten filter is an error
at once and never a hole.
"""

import re
from typing import Any, Final

from flatrun_core.ports.proxy import PANEL

_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_UPSTREAM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_SEGMENT: Final = re.compile(r"[^\x00-\x20\x7f-\xa0\"'$;{}\\/?#%\u2028\u2029\ud800-\udfff]+")
_FILE: Final = re.compile(r"(/[A-Za-z0-9@._+-]+)+")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SIZE: Final = re.compile(r"[0-9]{1,19}[kKmMgG]?")
_HEADER: Final = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
_VARIABLE: Final = re.compile(r"\$[a-z_]+")
_HEX: Final = re.compile(r"[0-9a-fA-F:]{0,128}")
# The longest word that nginx reads has 4096 bytes, quotes and escapes included.
_LONGEST_HOST: Final = 253
_LONGEST_PATH: Final = 1024


class Checked(str):
    """Text that may stand in a configuration file as it is."""

    __slots__ = ()


class Refused(ValueError):
    """A value that cannot enter a configuration file; the text says which and why."""


def host(value: Any) -> Checked:
    """A server name, in lower case; a wildcard for the first label is allowed."""
    if not isinstance(value, str) or len(value) > _LONGEST_HOST or not _HOST.fullmatch(value):
        raise Refused(f"{_shown(value)} is not a host name")
    return Checked(value)


def upstream(value: Any) -> Checked:
    """The name of a target on the proxy network."""
    if not isinstance(value, str) or not _UPSTREAM.fullmatch(value) or value == PANEL:
        raise Refused(f"{_shown(value)} is not the name of a target")
    return Checked(value)


def plain_path(value: Any) -> str:
    """A route's path: ``/``, or segments after one slash each, none of them ``.`` or ``..``."""
    if value == "/":
        return "/"
    text = value if isinstance(value, str) else ""
    if not text.startswith("/") or len(text.encode("utf-8", "replace")) > _LONGEST_PATH:
        raise Refused(f"{_shown(value)} is not the path of a route")
    for segment in text[1:].split("/"):
        if segment in (".", "..") or not _SEGMENT.fullmatch(segment):
            raise Refused(f"{_shown(value)} is not the path of a route")
    return text


def path(value: Any, tail: str = "") -> Checked:
    """A path as the word of a location, with a tail of the template's own."""
    return Checked(f'"{plain_path(value)}{tail}"')


def path_start(value: Any) -> Checked:
    """A regular expression for addresses, as they were sent, that begin with a path to the letter."""
    return Checked(rf'"^{re.escape(plain_path(value))}(?:[/?]|\z)"')


def path_rest(value: Any) -> Checked:
    """The same, with what follows the path and its slashes, query included, as ``$flatrun_rest``."""
    start = rf"^{re.escape(plain_path(value))}(?:/+|(?=\?)|\z)"
    return Checked(rf'"{start}(?<flatrun_rest>[^\x00-\x20\x7f]*)\z"')


def number(value: Any, low: int = 0, high: int = 2**63 - 1) -> Checked:
    """A whole number within bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused(f"{_shown(value)} is not a number from {low} to {high}")
    return Checked(value)


def file(value: Any) -> Checked:
    """A file as the container sees it."""
    return _matching(_FILE, value, "a plain absolute path")


def name(value: Any) -> Checked:
    """A deployment's name, for comments."""
    return _matching(_NAME, value, "the name of a deployment")


def size(value: Any) -> Checked:
    """A size in nginx's notation."""
    return _matching(_SIZE, value, "a size")


def header(value: Any) -> Checked:
    """The name of a header."""
    return _matching(_HEADER, value, "the name of a header")


def variable(value: Any) -> Checked:
    """One of nginx's variables."""
    return _matching(_VARIABLE, value, "a variable")


def fingerprint(value: Any) -> Checked:
    """A certificate's fingerprint, for comments."""
    return _matching(_HEX, value, "a fingerprint")


def protocol(value: Any) -> Checked:
    """``http`` or ``https``."""
    if value not in ("http", "https"):
        raise Refused(f"{_shown(value)} is not a protocol; there is http and https")
    return Checked(value)


def finalize(value: Any) -> str:
    """Let a template print only what was checked."""
    if not isinstance(value, Checked):
        raise Refused(f"a value was to be printed unchecked: {_shown(value)}")
    return value


def _matching(pattern: re.Pattern[str], value: Any, what: str) -> Checked:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Refused(f"{_shown(value)} is not {what}")
    return Checked(value)


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - a line's worth


FILTERS: Final = {
    "host": host,
    "upstream": upstream,
    "path": path,
    "path_start": path_start,
    "path_rest": path_rest,
    "header": header,
    "variable": variable,
    "number": number,
    "file": file,
    "name": name,
    "size": size,
    "fingerprint": fingerprint,
    "protocol": protocol,
}
