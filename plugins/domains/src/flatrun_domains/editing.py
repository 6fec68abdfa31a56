"""Changes of ``service.yml`` as a document: what nobody asked to change stays as somebody wrote it."""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from flatrun_domains.entries import DEFAULT_ID

Document = MutableMapping[str, Any]

_ORDER: Final = (
    "id",
    "service",
    "domain",
    "container_port",
    "path_prefix",
    "strip_prefix",
    "proxy_timeout",
    "max_body_size",
    "ssl",
    "aliases",
)
_OTHER_SPELLING: Final = {"container_port": "port", "path_prefix": "path", "auto_cert": "auto_renew"}
# Values that say the same as nothing at all.
_UNSET: Final[tuple[Any, ...]] = (None, "", "/", False, [])


def adopt_single(document: Document, values: Mapping[str, Any]) -> None:
    """Turn the single domain of ``networking`` into the first entry."""
    document["domains"] = []
    add(document, {**values, "id": DEFAULT_ID})


def add(document: Document, values: Mapping[str, Any]) -> None:
    """Append an entry of canonical values."""
    if not isinstance(document.get("domains"), list):
        document["domains"] = []
    document["domains"].append(written(values))


def written(values: Mapping[str, Any]) -> dict[str, Any]:
    """A new entry as it is stored: keys in their order, what says nothing left out."""
    known = {key: values[key] for key in _ORDER if key in values}
    return {key: _plain(value) for key, value in known.items() if not _is_unset(value)}


def change(document: Document, index: int, values: Mapping[str, Any]) -> None:
    """Set the canonical values of an entry; keys that are not among them stay."""
    entry = document["domains"][index]
    for key, value in values.items():
        if key == "ssl":
            _set_ssl(entry, value)
        elif _is_unset(value):
            _drop(entry, key)
        else:
            _set(entry, key, _plain(value))


def remove(document: Document, index: int) -> None:
    """Take an entry out."""
    del document["domains"][index]


def pin(document: Document, index: int, values: Mapping[str, Any]) -> None:
    """Write down an entry's service and port where it left them to the single-domain fields."""
    entry = document["domains"][index]
    for key in ("service", "container_port"):
        if not entry.get(key) and not entry.get(_OTHER_SPELLING.get(key, key)):
            entry[key] = values[key]


def mirror(document: Document, first: Mapping[str, Any] | None) -> None:
    """Let the single-domain fields follow the first entry; None when there is no entry any more."""
    networking = _section(document, "networking")
    if first is None:
        networking["expose"] = False
        networking["domain"] = ""
        return
    networking["domain"] = str(first.get("domain") or "")
    networking["service"] = str(first["service"])
    _set(networking, "container_port", int(first["container_port"]))
    _set_ssl(document, first.get("ssl") or {})


def expose(document: Document, exposed: bool) -> None:
    """Say whether the entries are to be served."""
    _section(document, "networking")["expose"] = exposed


def without_tls(document: Document, index: int | None, *, mirrored: bool) -> None:
    """Want no TLS for an entry any more; the first one is mirrored."""
    off = {"enabled": False, "auto_cert": False}
    if index is not None:
        _set_ssl(document["domains"][index], off)
    if mirrored:
        _set_ssl(document, off)


def _set_ssl(holder: MutableMapping[str, Any], ssl: Mapping[str, Any]) -> None:
    section = _section(holder, "ssl")
    enabled = bool(ssl.get("enabled"))
    section["enabled"] = enabled
    _set(section, "auto_cert", bool(ssl.get("auto_cert", enabled)))


def _section(holder: MutableMapping[str, Any], key: str) -> MutableMapping[str, Any]:
    if not isinstance(holder.get(key), MutableMapping):
        holder[key] = {}
    section: MutableMapping[str, Any] = holder[key]
    return section


def _set(holder: MutableMapping[str, Any], key: str, value: Any) -> None:
    if key in _OTHER_SPELLING:
        holder.pop(_OTHER_SPELLING[key], None)
    if key not in holder or holder[key] != value:
        holder[key] = value


def _drop(holder: MutableMapping[str, Any], key: str) -> None:
    holder.pop(key, None)
    holder.pop(_OTHER_SPELLING.get(key, key), None)


def _is_unset(value: Any) -> bool:
    return any(type(value) is type(unset) and value == unset for unset in _UNSET)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
