"""Placeholders of templates and what they become. There is no template language.

In compose text only five exact forms are replaced, by values that a pattern has admitted, so that no
value can end the YAML it stands in. Everything else with a ``$`` is Compose's.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from flatrun_core import Invalid, fields

NEW_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# The values that every deployment has of its own; the two networks are the panel's.
OWN: Final = ("NAME", "PORT", "DOMAIN")
_NETWORK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
# An even number of dollars before the brace is Compose's way to write a dollar that is none.
_COMPOSE: Final = re.compile(r"(\$+)\{(NAME|PORT|DOMAIN|PROXY_NETWORK|DATABASE_NETWORK)\}")
_CONTENT: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LAST_PORT: Final = 65535
_MAX_CONTENT: Final = 4 << 20

# Where a value stands in a text: its first index, and the index after its last character.
Span = tuple[int, int]


def check_name(name: object) -> str:
    """The name of a new deployment; raises ``Invalid`` ``INVALID_NAME``."""
    if not isinstance(name, str) or not NEW_NAME.fullmatch(name):
        raise Invalid(
            "The name must be 1 to 63 lower-case letters, digits or hyphens, "
            "and begin and end with a letter or digit",
            code="INVALID_NAME",
        )
    return name


def own_values(values: Mapping[str, Any]) -> dict[str, str]:
    """NAME, and PORT and DOMAIN where they are given, as checked text; raises ``Invalid``."""
    found = {"NAME": check_name(values.get("NAME"))}
    port, domain = values.get("PORT"), values.get("DOMAIN")
    if port is not None:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port <= _LAST_PORT:
            raise Invalid("The port must be a number from 1 to 65535")
        found["PORT"] = str(port)
    if domain is not None:
        try:
            found["DOMAIN"] = fields.host_name(str(domain))
        except ValueError as exc:
            raise Invalid("The domain is not a valid domain name") from exc
    return found


def network_name(value: object, default: str) -> str:
    """A network's name that Docker takes; ``default`` for anything else."""
    return value if isinstance(value, str) and _NETWORK.fullmatch(value) else default


def fill_compose(text: str, values: Mapping[str, str]) -> tuple[str, list[Span]]:
    """The compose text with the placeholders of ``values`` replaced, and where they stand now.

    PORT, which is to be a number, is not among the places.
    """
    done: list[str] = []
    spans: list[Span] = []
    position = length = 0
    for match in _COMPOSE.finditer(text):
        if len(match[1]) % 2 == 0 or match[2] not in values:
            continue
        start = match.end(1) - 1
        value = values[match[2]]
        length += start - position + len(value)
        done += (text[position:start], value)
        if match[2] != "PORT":
            spans.append((length - len(value), length))
        position = match.end()
    done.append(text[position:])
    return "".join(done), spans


def placeholders(text: str) -> set[str]:
    """The names of the placeholders that a compose text uses."""
    return {match[2] for match in _COMPOSE.finditer(text) if len(match[1]) % 2}


def fill_content(text: str, values: Mapping[str, str]) -> str:
    """A file's content with each known ``${KEY}`` replaced, once and in one pass; others stay.

    Raises ``Invalid`` when it would grow beyond 4 MiB.
    """
    size = len(text) + sum(len(values.get(match[1], "")) for match in _CONTENT.finditer(text))
    if size > _MAX_CONTENT:
        raise Invalid("A file of the template becomes larger than 4 MiB")
    return _CONTENT.sub(lambda match: values.get(match[1], match[0]), text)


def unresolved(text: str, values: Mapping[str, str]) -> bool:
    """Whether a content has a placeholder that has no value."""
    return any(match[1] not in values for match in _CONTENT.finditer(text))
