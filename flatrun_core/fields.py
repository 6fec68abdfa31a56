"""Strict marshmallow fields and the two base schemas: request bodies and settings groups.

A wrong JSON type is an error here, never a conversion: ``true`` is no number, ``1`` no boolean and
``"1"`` neither. Query strings, which know only text, have fields of their own.
"""

# ruff: noqa: PLC0414 - authors import fields from here only, so the library's are given again

import ipaddress
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import idna
import marshmallow
from marshmallow import EXCLUDE, RAISE
from marshmallow import Schema as Schema
from marshmallow import ValidationError as ValidationError
from marshmallow import fields as base
from marshmallow import post_load as post_load
from marshmallow import pre_load as pre_load
from marshmallow import validates_schema as validates_schema
from marshmallow.fields import Dict as Dict
from marshmallow.fields import Field as Field
from marshmallow.fields import List as List
from marshmallow.fields import Nested as Nested
from marshmallow.fields import Raw as Raw
from marshmallow.validate import Email as _EmailShape
from marshmallow.validate import Length as Length
from marshmallow.validate import OneOf as OneOf
from marshmallow.validate import Range as Range
from marshmallow.validate import Regexp as Regexp

from flatrun_core.durations import format_duration as format_duration
from flatrun_core.durations import parse_duration as parse_duration

_EMAIL_LENGTH, _HOST_LENGTH, _CONTAINER_LENGTH = 254, 253, 128
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def parse_time(text: str) -> datetime:
    """An RFC 3339 time, in UTC; raises ``ValueError``, also without an offset."""
    if not _TIME.fullmatch(text):
        raise ValueError("not an RFC 3339 time")
    try:
        return datetime.fromisoformat(text.upper().replace(" ", "T")).astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("a time no calendar here holds") from exc


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with ``Z``; a time without a zone counts as UTC."""
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return aware.replace(tzinfo=None).isoformat() + "Z"


def host_name(text: str) -> str:
    """A domain name in the form it is stored: lower case, no trailing dot, IDNA as ASCII.

    At least two labels; no address, wildcard or port. Raises ``ValueError``.
    """
    if len(text) > 4 * _HOST_LENGTH:
        raise ValueError("too long")
    name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > _HOST_LENGTH or not labels[1:] or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("not a host name")
    if labels[-1].isdigit():
        raise ValueError("an address, not a host name")
    if "xn--" in name:
        idna.decode(name)
    return name


class String(base.String):
    """Text; bytes, NUL and lone surrogates, which no store takes, are refused."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or _UNSTORABLE.search(value):
            raise self.make_error("invalid")
        return str(value)


class Boolean(base.Boolean):
    """JSON ``true`` or ``false`` and nothing else."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input="")
        return value


class QueryBoolean(base.Boolean):
    """``true``, ``1``, ``false`` or ``0`` in a query string, in any case."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        lowered = str(value).lower()
        if lowered not in {"true", "1", "false", "0"}:
            raise ValidationError("Must be true or false.")
        return lowered in {"true", "1"}


class Integer(base.Integer):
    """A JSON number without a fraction part; ``1.0`` and ``true`` are refused."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.make_error("invalid", input="")
        return int(value)


class QueryInteger(base.Integer):
    """A decimal number in a query string, within ``min`` and ``max``.

    With ``clamp_max`` a larger one is taken as ``max`` instead of refused.
    """

    def __init__(self, min: int = 0, max: int = 2**31 - 1, clamp_max: bool = False, **kwargs: Any) -> None:
        limits = {"minimum": min} if clamp_max else {"minimum": min, "maximum": max}
        super().__init__(**{**kwargs, "metadata": limits | dict(kwargs.get("metadata") or {})})
        self.min, self.max, self.clamp_max = min, max, clamp_max

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        # Nineteen digits are beyond every limit, and converting millions of them takes minutes.
        digits = re.fullmatch(r"([+-]?)0*([0-9]{1,19})[0-9]*", str(value))
        number = int("".join(digits.groups())) if digits else None
        if self.clamp_max and number is not None:
            number = min(number, self.max)
        if number is None or not self.min <= number <= self.max:
            raise ValidationError(f"Must be a number from {self.min} to {self.max}.")
        return number


class Float(base.Float):
    """A finite JSON number."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.make_error("invalid", input="")
        return super()._deserialize(value, attr, data, **kwargs)


class Port(Integer):
    """A TCP or UDP port, 1 to 65535."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=Range(1, 65535), **kwargs)


class _Text(base.Field[Any], ABC):
    """A value written as text; ``blank`` lets the empty string through as it is."""

    format: ClassVar[str] = ""
    message: ClassVar[str] = "Not a valid string."

    def __init__(self, *, blank: bool = False, **kwargs: Any) -> None:
        # The empty string is of no format, so a field that takes it must not promise one.
        shown = {"type": "string"} | ({"format": self.format} if self.format and not blank else {})
        super().__init__(**{**kwargs, "metadata": shown | dict(kwargs.get("metadata") or {})})
        self.blank = blank

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str) or _UNSTORABLE.search(value):
            raise ValidationError(self.message)
        if self.blank and not value:
            return ""
        try:
            return self._parse(value)
        except (ValueError, ValidationError) as exc:
            raise ValidationError(self.message) from exc

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return None if value is None else str(value)

    @abstractmethod
    def _parse(self, text: str) -> Any:
        """The value; ``ValueError`` when the text is none."""


class Duration(_Text):
    """A Go duration as ``timedelta``, see ``parse_duration``; more than zero unless ``zero``."""

    format = "duration"
    message = 'Must be a duration such as "30s", "5m" or "24h".'

    def __init__(self, *, zero: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.zero = zero

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        found = super()._deserialize(value, attr, data, **kwargs)
        if found == timedelta(0) and not self.zero:
            raise ValidationError("Must be longer than zero.")
        return found

    def _parse(self, text: str) -> timedelta:
        return parse_duration(text)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return format_duration(value) if isinstance(value, timedelta) else value


class Time(_Text):
    """A point in time as an aware ``datetime``; RFC 3339 on the wire, None is ``null``."""

    format = "date-time"
    message = "Must be an RFC 3339 time with an offset."

    def _parse(self, text: str) -> datetime:
        return parse_time(text)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return format_time(value) if isinstance(value, datetime) else value


class Email(_Text):
    """An email address, by its shape only."""

    format = "email"
    message = "Not a valid email address."

    def _parse(self, text: str) -> str:
        if len(text) > _EMAIL_LENGTH:
            raise ValueError("too long")
        return str(_EmailShape()(text))


class HostName(_Text):
    """A domain name, see ``host_name``."""

    message = "Not a valid domain name."

    def _parse(self, text: str) -> str:
        return host_name(text)


class ContainerName(_Text):
    """A name Docker takes for a container, 128 characters at most."""

    message = "Not a valid container name."

    def _parse(self, text: str) -> str:
        if len(text) > _CONTAINER_LENGTH or not _CONTAINER.fullmatch(text):
            raise ValueError("not a container name")
        return text


class AddressOrNetwork(_Text):
    """An IPv4 or IPv6 address or CIDR network as text in its canonical form."""

    message = "Must be an IP address or a network such as 10.0.0.0/8."

    def _parse(self, text: str) -> str:
        if "%" in text:
            raise ValueError("addresses with a zone mean nothing outside their machine")
        return str(ipaddress.ip_network(text, strict=False) if "/" in text else ipaddress.ip_address(text))


class AbsolutePath(_Text):
    """A path from the root of the file system, as ``Path``."""

    message = "Must be an absolute path."

    def _parse(self, text: str) -> Path:
        if not Path(text).is_absolute():
            raise ValueError("not absolute")
        return Path(text)


TOO_SHORT = "Is too short and could be found by trying; take one as `openssl rand -hex 16` makes"


class Secret(String):
    """Text that is taken and never given back.

    In settings an empty one in a change means keep, and ``flag`` names the boolean published in its
    place (``has_<name>`` unless given; empty for none). With ``shortest`` a text that is not empty
    has at least that many characters, blanks at its ends not counted.
    """

    def __init__(self, *, flag: str | None = None, shortest: int = 0, **kwargs: Any) -> None:
        metadata = {**(kwargs.pop("metadata", None) or {}), "secret": True}
        super().__init__(**{"load_only": True, **kwargs, "metadata": metadata})
        self.flag = flag
        self.shortest = shortest

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text and len(text.strip()) < self.shortest:
            raise ValidationError(TOO_SHORT)
        return text


def is_secret(field: Field[Any]) -> bool:
    """Whether the field, or what a list of it holds, is a secret."""
    inner = field.inner if isinstance(field, List) else field
    return bool(field.metadata.get("secret") or inner.metadata.get("secret"))


class InputSchema(Schema):
    """Base of request bodies and queries; what it does not know is ignored, real clients send more."""

    class Meta:  # noqa: D106
        unknown = EXCLUDE


class SettingsSchema(Schema):
    """Base of settings groups: loads ``dataclass``, whose defaults its fields take over.

    Every field has a default, from ``load_default`` or from the dataclass, and a ``description``
    in its metadata. Unknown keys are errors. Lists arrive as tuples.
    """

    class Meta:  # noqa: D106
        unknown = RAISE

    dataclass: ClassVar[type[Any]]

    def on_bind_field(self, field_name: str, field_obj: Field[Any]) -> None:
        """Take over the dataclass's default; ``TypeError`` without any, or for a secret that would print."""
        name = f"{type(self).__name__}.{field_name}"
        known = {one.name: one for one in dataclass_fields(self.dataclass)}
        declared = known.get(field_obj.attribute or field_name)
        if declared is None:
            raise TypeError(f"{name} has no place in {self.dataclass.__name__}")
        if is_secret(field_obj) and declared.repr:
            raise TypeError(f"{name} is a secret; declare it with field(repr=False) in the dataclass")
        if field_obj.load_default is marshmallow.missing:
            given = declared.default if declared.default is not MISSING else declared.default_factory
            if given is MISSING:
                raise TypeError(f"{name} has no default")
            field_obj.load_default = given

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> Any:
        return self.dataclass(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


def flatten_errors(messages: Any, prefix: str = "") -> list[str]:
    """Nested messages of marshmallow as lines, each ``dotted.name: sentence``."""
    if isinstance(messages, Mapping):
        lines: list[str] = []
        for key, inner in messages.items():
            path = prefix if key == "_schema" else f"{prefix}.{key}" if prefix else str(key)
            lines += flatten_errors(inner, path)
        return lines
    if isinstance(messages, list | tuple):
        return [line for inner in messages for line in flatten_errors(inner, prefix)]
    return [f"{prefix}: {messages}" if prefix else str(messages)]
