"""From the bodies of requests to the canonical values of an entry, and back to the answers."""

from collections.abc import Mapping
from typing import Any, Final

from flatrun_domains.entries import Stored

# Their own name first: where both are sent they have to say the same.
SPELLINGS: Final = (("container_port", "port"), ("path_prefix", "path"))
_PLAIN: Final = ("service", "domain", "strip_prefix", "proxy_timeout", "max_body_size", "aliases")


def asked(body: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a body sets, in canonical spelling; null and an empty service count as not sent.

    ``proxy_timeout`` and ``max_body_size`` of null say that there is none.
    """
    values: dict[str, Any] = {}
    for key in _PLAIN:
        if key in body and (body[key] or key not in ("service", "domain")):
            values[key] = body[key]
    for key, other in SPELLINGS:
        sent = next((body[name] for name in (key, other) if body.get(name) is not None), None)
        if sent is not None:
            values[key] = sent
    if body.get("ssl"):
        values["ssl"] = dict(body["ssl"])
    return {key: value for key, value in values.items() if value is not None or key in _ERASABLE}


_ERASABLE: Final = ("proxy_timeout", "max_body_size")


def merged(before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an entry after a change; ``auto_cert`` follows ``enabled`` where it is not sent."""
    after = {**before, **values}
    if "ssl" in values:
        after["ssl"] = full_ssl(before.get("ssl") or {}, values["ssl"])
    return after


def full_ssl(before: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, bool]:
    """Both flags; of what was not sent the value before stays, unless ``enabled`` changes."""
    was = bool(before.get("enabled"))
    enabled = bool(sent.get("enabled", was))
    kept = bool(before.get("auto_cert", was)) if enabled == was else enabled
    return {"enabled": enabled, "auto_cert": bool(sent.get("auto_cert", kept))}


def shown(stored: Stored) -> dict[str, Any]:
    """An entry as answers have it, in both spellings."""
    values = stored.values
    ssl = values.get("ssl") or {}
    path = stored.entry.path if stored.entry else str(values.get("path_prefix") or "/")
    entry = {
        "id": stored.id,
        "service": str(values["service"]),
        "domain": stored.entry.domain if stored.entry else str(values.get("domain") or ""),
        "port": values["container_port"],
        "container_port": values["container_port"],
        "path": path,
        "path_prefix": "" if path == "/" else path,
        "strip_prefix": bool(values.get("strip_prefix")),
        "ssl": {"enabled": bool(ssl.get("enabled")), "auto_cert": auto_cert(ssl)},
        "aliases": list(stored.entry.aliases if stored.entry else values.get("aliases") or ()),
    }
    for key in _ERASABLE:
        if values.get(key) is not None:
            entry[key] = values[key]
    return entry | ({"problem": stored.problem} if stored.problem else {})


def auto_cert(ssl: Mapping[str, Any]) -> bool:
    """Whether a certificate is to be obtained; unset it is so where TLS is wanted."""
    return bool(ssl.get("auto_cert", bool(ssl.get("enabled"))))
