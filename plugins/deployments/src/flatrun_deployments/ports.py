"""Ports of compose services, short and long, as values and as text for people."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flatrun_deployments.interpolation import closing_brace, interpolate

_LAST_PORT: Final = 65535
_RANGE: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_PROTOCOL: Final = re.compile(r"[a-z]{2,8}")


@dataclass(frozen=True, slots=True)
class Port:
    """One entry of ``ports`` or ``expose``.

    ``target`` and ``published`` are a number, a range (``3000-3005``), or the text of the file where
    a variable's value cannot be known; ``published`` is empty when Docker chooses it or nothing is
    published.
    """

    target: str
    published: str = ""
    host_ip: str = ""
    protocol: str = "tcp"

    @property
    def text(self) -> str:
        """``published:target[/proto]``, or the target alone."""
        numbers = f"{self.published}:{self.target}" if self.published else self.target
        return numbers if self.protocol == "tcp" else f"{numbers}/{self.protocol}"

    @property
    def target_port(self) -> int | None:
        """The container's port, the first one of a range; None when it is no known number."""
        ports = _numbers(self.target)
        return ports[0] if ports else None

    @property
    def host_ports(self) -> tuple[int, ...]:
        """The ports taken on the host; none when Docker chooses or they cannot be known."""
        ports = _numbers(self.published)
        # From a range for one target Docker takes the first that is free.
        return () if len(ports) > 1 and len(_numbers(self.target)) == 1 else tuple(ports)


def read_ports(entries: object, env: Mapping[str, str]) -> tuple[Port, ...]:
    """The entries of a service's ``ports``; what is no port at all is left out."""
    return tuple(port for entry in _items(entries) if (port := _port(entry, env)) is not None)


def read_expose(entries: object, env: Mapping[str, str]) -> tuple[Port, ...]:
    """The entries of a service's ``expose``: targets only."""
    return tuple(Port(port.target, protocol=port.protocol) for port in read_ports(entries, env))


def unique_texts(ports: Iterable[Port]) -> tuple[str, ...]:
    """The texts in order, each once."""
    return tuple(dict.fromkeys(port.text for port in ports))


def _items(entries: object) -> list[Any]:
    return entries if isinstance(entries, list) else []


def _port(entry: object, env: Mapping[str, str]) -> Port | None:
    if isinstance(entry, dict):
        return _long(entry, env)
    text = _text(entry, env)
    return _short(text, env) if text else None


def _long(entry: Mapping[str, Any], env: Mapping[str, str]) -> Port | None:
    target = _text(entry.get("target"), env)
    if not target:
        return None
    return Port(
        target,
        _text(entry.get("published"), env),
        _text(entry.get("host_ip"), env),
        _text(entry.get("protocol"), env).lower() or "tcp",
    )


def _short(text: str, env: Mapping[str, str]) -> Port | None:
    numbers, protocol = _split_protocol(text)
    # Where one part is not known, the others may be.
    parts = [_text(part, env) for part in _split_colons(numbers)]
    target = parts.pop()
    published = parts.pop() if parts else ""
    host_ip = ":".join(parts).removeprefix("[").removesuffix("]")
    return Port(target, published, host_ip, protocol) if target else None


def _split_protocol(text: str) -> tuple[str, str]:
    head, slash, tail = text.rpartition("/")
    return (head, tail.lower()) if slash and _PROTOCOL.fullmatch(tail.lower()) else (text, "tcp")


def _split_colons(text: str) -> list[str]:
    """The parts between colons that are neither in ``${...}`` nor in ``[...]``."""
    parts, start, index = [], 0, 0
    while index < len(text):
        end = -1
        if text.startswith("${", index):
            end = closing_brace(text, index + 2)
        elif text[index] == "[":
            end = text.find("]", index)
        elif text[index] == ":":
            parts.append(text[start:index])
            start = index + 1
        index = max(index, end) + 1
    return [*parts, text[start:]]


def _text(value: object, env: Mapping[str, str]) -> str:
    """A scalar's text, variables replaced where their value is known."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    text = str(value).strip()[:200]
    known = interpolate(text, env)
    return text if known is None else known.strip()


def _numbers(text: str) -> range:
    match = _RANGE.fullmatch(text)
    if not match:
        return range(0)
    first, last = int(match[1]), int(match[2] or match[1])
    return range(first, last + 1) if 0 < first <= last <= _LAST_PORT else range(0)
