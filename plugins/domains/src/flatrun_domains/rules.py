"""What a value of a domain entry may be: each rule answers it as it is kept, or raises ``ValueError``."""

import re
from typing import Final

import idna

from flatrun_core import Invalid, fields
from flatrun_core.ports.proxy import PANEL
from flatrun_core.site_rules import MAX_PATH, check_path

# An authority takes a hundred names for one certificate, the primary among them.
MAX_ALIASES: Final = 99
MAX_TIMEOUT: Final = 86400
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
CHALLENGES: Final = "/.well-known/acme-challenge"

_SERVICE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SIZE: Final = re.compile(r"([0-9]{1,10})([kmg]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_RESERVED: Final = re.compile(r"nginx|default|rate_limits|blocked_ips|00-flatrun.*")


def entry_id(text: str) -> str:
    """The id of an entry; empty where one is to be made up."""
    if text and not ID.fullmatch(text):
        raise ValueError("it has to be of letters, digits, - and _, 64 at most")
    return text


def host(text: str) -> str:
    """A host name: lower case, no trailing dot, ASCII.

    Letters of another width and case are taken as what they look like; signs that nobody sees are
    refused, as IDNA would drop them and make another name of what somebody copied.
    """
    try:
        if not text.isascii() and not all(map(idna.uts46_remap, text)):
            raise ValueError("it has invisible signs")
        return fields.host_name(text)
    except (ValueError, UnicodeError) as exc:
        raise ValueError("it is not a domain name") from exc


def path(text: str) -> str:
    """A path that a location matches: ``/``, or no slash at its end."""
    known = text.rstrip("/") or "/"
    if not text:
        return "/"
    try:
        if len(text) > MAX_PATH or text.endswith("//"):
            raise Invalid("too long, or with an empty part")
        check_path(known)
    except Invalid as exc:
        raise ValueError(
            f"it has to begin with / and hold only letters, digits and ._~!*+,=:@&/- ({MAX_PATH} at most), "
            "and no part of it may be empty or of dots alone"
        ) from exc
    if known == CHALLENGES or known.startswith(CHALLENGES + "/"):
        raise ValueError(f"{CHALLENGES} belongs to certificate authorities")
    return known


def service(text: str) -> str:
    """The name of a compose service, which becomes part of a name on the proxy's network."""
    if not _SERVICE.fullmatch(text):
        raise ValueError("it is not the name of a service")
    return text


def size(text: str) -> int:
    """Bytes of a text such as ``500m``; 0 is no limit."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError("it has to be a size such as 500m, or 0 for no limit")
    return int(found[1]) * _UNITS[found[2].lower()]


def strips(strip_prefix: bool, known_path: str) -> None:
    """Whether a prefix can be stripped: ``/`` is none."""
    if strip_prefix and known_path == "/":
        raise ValueError("strip_prefix needs a path other than /")


def is_reserved(deployment: str) -> bool:
    """Whether a deployment's name is that of a file of the proxy's own, so that it cannot have a site."""
    return deployment == PANEL or bool(_RESERVED.fullmatch(deployment))
