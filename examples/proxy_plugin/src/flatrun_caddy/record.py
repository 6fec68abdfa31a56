"""The lines above the site blocks: which deployments a Caddyfile serves, and which it leaves out.

They are all that is remembered, so a panel that starts anew knows what is served.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_HEAD: Final = "# Flatrun writes this file. What somebody else changes in it is put aside. "
_SERVES: Final = "# serves "
_LEAVES_OUT: Final = "# leaves out "


@dataclass(frozen=True, slots=True)
class Record:
    """What a Caddyfile says of itself; ``genuine`` when it is as it was written."""

    genuine: bool = False
    served: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def with_record(body: str, served: Sequence[str], refused: Mapping[str, str]) -> str:
    """A whole Caddyfile."""
    lines = [_SERVES + _written(name) for name in served]
    lines += [_LEAVES_OUT + _written(pair) for pair in sorted(refused.items())]
    rest = "".join(f"{line}\n" for line in lines) + body
    return f"{_HEAD}{_digest(rest)}\n{rest}"


def record_of(text: str) -> Record:
    """What a Caddyfile says of itself; nothing when it is not Flatrun's."""
    head, _, rest = text.partition("\n")
    if not head.startswith(_HEAD):
        return Record()
    served, refused = [], {}
    try:
        for line in rest.splitlines():
            if line.startswith(_SERVES):
                served.append(json.loads(line.removeprefix(_SERVES)))
            elif line.startswith(_LEAVES_OUT):
                name, reason = json.loads(line.removeprefix(_LEAVES_OUT))
                refused[name] = reason
    except (ValueError, TypeError):
        return Record()
    return Record(head == f"{_HEAD}{_digest(rest)}", tuple(served), refused)


def _written(value: object) -> str:
    """JSON, which is one line of ASCII. Caddy puts the environment into comments too: no brace."""
    return json.dumps(value).replace("{", "\\u007b").replace("}", "\\u007d")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
