"""Whether nginx has taken over a set: it is asked, under a name that nobody has, for the set's digest.

``nginx -s reload`` only sends a signal. The processes of before answer for a moment longer, and a master
that cannot use the new configuration, as for a port that is taken, goes on with the old one.
"""

import hashlib
import http.client
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from flatrun_nginx.names import GENERATION

FILE: Final = "default.conf"
WITHIN: Final = 3.0  # seconds
_PAUSE: Final = 0.01
_ANSWER_WITHIN: Final = 0.5
_IN_A_ROW: Final = 2
# So many times nobody at all answers before nginx counts as one that cannot be reached from here.
_TRIES: Final = 3
_OK: Final = 200
_DIGEST: Final = re.compile(r"[0-9a-f]{16}")
_STANDING: Final = re.compile(r'^ *return 200 "([0-9a-f]{16})\\n";$', re.MULTILINE)

Place = tuple[str, int]


def digest(*groups: Mapping[str, str]) -> str:
    """16 hex digits that stand for groups of texts by their names."""
    found = hashlib.sha256()
    for group in groups:
        for name, text in sorted(group.items()):
            for part in (name.encode(), text.encode("utf-8", "surrogatepass")):
                found.update(len(part).to_bytes(8))
                found.update(part)
        found.update(b"/")
    return found.hexdigest()[:16]


def standing(conf: Path) -> str:
    """The digest in the live files, which nginx tells once it has read them; empty without one."""
    try:
        found = _STANDING.search((conf / FILE).read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def ask(place: Place) -> str | None:
    """What is told over a fresh connection: a digest, empty for anything else, None without an answer."""
    connection = http.client.HTTPConnection(*place, timeout=_ANSWER_WITHIN)
    try:
        connection.putrequest("GET", "/", skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", GENERATION)
        connection.putheader("Connection", "close")
        connection.endheaders()
        answer = connection.getresponse()
        told = answer.read(64).decode("ascii", "replace").strip()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return told if answer.status == _OK and _DIGEST.fullmatch(told) else ""


class Watch:
    """Asks until nginx tells a digest; ``clock`` and ``pause`` are in seconds."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._pause = pause

    def sees(self, wanted: str, places: Sequence[Place], *, starting: bool = False) -> bool | None:
        """Whether it is told twice in a row within ``WITHIN``; None where nobody answered at all.

        One that is ``starting`` does not answer at first, and is waited for.
        """
        end = self._clock() + WITHIN
        row, asked, answered = 0, 0, False
        while wanted and places:
            told = self._told(places)
            asked, answered = asked + 1, answered or told is not None
            row = row + 1 if told == wanted else 0
            if row == _IN_A_ROW:
                return True
            if self._clock() >= end or not (starting or answered or asked < _TRIES):
                break
            if not row:
                self._pause(_PAUSE)
        return False if answered else None

    def _told(self, places: Sequence[Place]) -> str | None:
        return next((told for told in map(ask, places) if told is not None), None)
