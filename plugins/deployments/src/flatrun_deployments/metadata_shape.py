"""The shape of ``service.yml``: documented keys, their other spellings, and what a value may be.

A reader is called with a value, the dotted place it stands at, and whether it came in a request:
then JSON types count as they are and unknown keys are dropped, while a file edited by hand may say
``yes`` or ``"80"`` and keeps what only others understand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

from flatrun_deployments.yaml_reader import YamlProblem

Read = Callable[[Any, str, bool], Any]

_LAST_PORT: Final = 65535
_MAX_DIGITS: Final = 18
_FLAGS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping with documented keys; ``aliases`` are other spellings, which the own one outdoes."""

    fields: Mapping[str, Read]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, value: Any, where: str, request: bool) -> dict[str, Any]:
        """The mapping in canonical spelling; what is absent, null or means unset is left out."""
        if not isinstance(value, Mapping):
            raise YamlProblem(f"{where or 'the file'} is not a mapping")
        folded: dict[str, Any] = {}
        for key, item in value.items():
            name = self.aliases.get(key, key)
            if name != key and value.get(name) is not None:
                if request and value[name] != item:
                    raise YamlProblem(f"{_join(where, key)} and {_join(where, name)} differ")
                continue
            if name in self.fields:
                known = None if item is None else self.fields[name](item, _join(where, name), request)
                if known is not None:
                    folded[name] = known
            elif not request:
                folded[name] = item
        return folded


@dataclass(frozen=True, slots=True)
class Listed:
    """A list whose items all have one shape."""

    item: Read

    def __call__(self, value: Any, where: str, request: bool) -> list[Any]:
        """The items in order."""
        if not isinstance(value, (list, tuple)):
            raise YamlProblem(f"{where} is not a list")
        return [self.item(item, f"{where}[{index}]", request) for index, item in enumerate(value)]


def text(value: Any, where: str, request: bool) -> str:
    """A string; in a file numbers and booleans are taken as written by people."""
    if isinstance(value, str):
        if "\0" in value:
            raise YamlProblem(f"{where} holds a NUL character")
        return value
    if request or not isinstance(value, (int, float)):
        raise YamlProblem(f"{where} is not a text")
    return str(value).lower() if isinstance(value, bool) else str(value)


def flag(value: Any, where: str, request: bool) -> bool:
    """A boolean; in a file the words yes, no, on and off too."""
    if isinstance(value, bool):
        return value
    known = None if request or not isinstance(value, str) else _FLAGS.get(value.lower())
    if known is None:
        raise YamlProblem(f"{where} is neither true nor false")
    return known


def port(value: Any, where: str, request: bool) -> int | None:
    """A port number, 1 to 65535; in a file 0 means unset."""
    number = whole(value, where, request)
    if number == 0 and not request:
        return None
    if not 1 <= number <= _LAST_PORT:
        raise YamlProblem(f"{where} is not a port")
    return number


def whole(value: Any, where: str, request: bool) -> int:
    """A whole number; in a file also as digits in quotes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not request and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:_MAX_DIGITS])
    raise YamlProblem(f"{where} is not a whole number")


def choice(*allowed: str) -> Read:
    """One of some words; empty means unset."""

    def read(value: Any, where: str, request: bool) -> str | None:
        word = text(value, where, request)
        if not word:
            return None
        if word not in allowed:
            raise YamlProblem(f"{where} has to be one of: {', '.join(allowed)}")
        return word

    return read


def mapping(value: Any, where: str, _request: bool) -> dict[str, Any]:
    """A mapping whose inside belongs to another plugin."""
    if not isinstance(value, Mapping):
        raise YamlProblem(f"{where} is not a mapping")
    return dict(value)


def moment(value: Any, where: str, _request: bool) -> str | None:
    """A time, as RFC 3339 in UTC; a date is its midnight, a time without zone is UTC, year 1 unset."""
    if value == "":
        return None
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip().replace(" Z", "Z"))
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        if not isinstance(value, datetime):
            raise YamlProblem(f"{where} is not a time")
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return None if aware.year == 1 else aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError) as exc:
        raise YamlProblem(f"{where} is not a time") from exc


NETWORKING: Final = Section(
    {
        "expose": flag,
        "domain": text,
        "service": text,
        "container_port": port,
        "protocol": choice("http", "https"),
        "proxy_type": choice("http", "tcp", "grpc"),
        "host_port": port,
        "networks": Listed(text),
    },
    {"port": "container_port"},
)
SSL: Final = Section({"enabled": flag, "auto_cert": flag}, {"auto_renew": "auto_cert"})
HEALTHCHECK: Final = Section({"path": text, "interval": text})
QUICK_ACTION: Final = Section(
    dict.fromkeys(("id", "name", "command", "description", "icon", "service"), text)
)
DOMAIN: Final = Section(
    {
        "id": text,
        "service": text,
        "domain": text,
        "container_port": port,
        "path_prefix": text,
        "strip_prefix": flag,
        "proxy_timeout": whole,
        "max_body_size": text,
        "ssl": SSL,
        "aliases": Listed(text),
    },
    {"port": "container_port", "path": "path_prefix"},
)
DATABASE: Final = Section(
    {
        "id": text,
        "alias": text,
        "type": text,
        "mode": text,
        "service": text,
        "host": text,
        "port": port,
        "container": text,
        "database_name": text,
        "username": text,
        "env_prefix": text,
        "is_shared": flag,
    }
)
SERVICE: Final = Section(
    {
        "name": text,
        "type": text,
        "created_at": moment,
        "template_id": text,
        "networking": NETWORKING,
        "ssl": SSL,
        "healthcheck": HEALTHCHECK,
        "quick_actions": Listed(QUICK_ACTION),
        "security": mapping,
        "backup": mapping,
        "credential_id": text,
        "domains": Listed(DOMAIN),
        "databases": Listed(DATABASE),
    },
    {"health_check": "healthcheck"},
)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)
