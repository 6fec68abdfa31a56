"""``service.yml``: a deployment's metadata, read into one canonical shape and edited in place."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flatrun_core.errors import Conflict, Invalid
from flatrun_core.yaml_writer import write_yaml
from flatrun_deployments.compose_file import DEFAULT_PORT, ComposeFile
from flatrun_deployments.files import Unreadable, read_bytes
from flatrun_deployments.metadata_shape import (
    DATABASE,
    DOMAIN,
    HEALTHCHECK,
    NETWORKING,
    QUICK_ACTION,
    SERVICE,
    SSL,
)
from flatrun_deployments.service_document import KeptDocuments, ServiceDocument
from flatrun_deployments.yaml_reader import YamlProblem, read_yaml

__all__ = [
    "FILENAME",
    "MAX_SIZE",
    "ServiceDocument",
    "canonical",
    "edit",
    "from_request",
    "generated",
    "public",
    "read",
    "render_new",
]

FILENAME: Final = "service.yml"
MAX_SIZE: Final = 256 << 10
MASK: Final = "********"

_PUBLIC_ORDER: Final = (
    "name", "type", "created_at", "template_id", "networking", "ssl", "healthcheck", "domains", "databases",
    "quick_actions", "security", "backup", "credential_id",
)  # fmt: skip
_LEFT_OUT_WHEN_EMPTY: Final = ("created_at", "template_id", "security", "backup", "credential_id")
_INSIDE: Final = {"networking": NETWORKING, "ssl": SSL, "healthcheck": HEALTHCHECK}
_ITEMS: Final = {"domains": DOMAIN, "databases": DATABASE, "quick_actions": QUICK_ACTION}


def read(text: str, name: str, compose: ComposeFile | None) -> dict[str, Any]:
    """The canonical metadata of a file's text; raises ``YamlProblem``, naming line or key."""
    return canonical(read_yaml(text.removeprefix("\ufeff"), limit=MAX_SIZE, string_keys=False), name, compose)


def canonical(document: Any, name: str, compose: ComposeFile | None) -> dict[str, Any]:
    """Every documented key in its own spelling, defaults filled in, unknown keys kept.

    ``document`` is what the file holds, None for an empty one. Raises ``YamlProblem``, naming the
    key, for a value that cannot be meant.
    """
    given = SERVICE({} if document is None else document, "", False)
    wanted = given.get("networking", {}).get("service", "")
    metadata = _filled(given, _defaults(name, compose, wanted))
    if not metadata["name"]:
        metadata["name"] = name
    if not metadata["networking"]["domain"] and metadata["domains"]:
        metadata["networking"]["domain"] = metadata["domains"][0].get("domain", "")
    return metadata


def generated(name: str, compose: ComposeFile | None) -> dict[str, Any]:
    """The metadata of a deployment that has no ``service.yml``."""
    return canonical(None, name, compose)


def from_request(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a creation in canonical spelling: known keys, and only those that were given.

    ``created_at`` and ``template_id`` are the panel's to set and are dropped. Whether a domain is
    one is not looked at here. Raises ``Invalid`` ``VALIDATION_ERROR``.
    """
    try:
        given: dict[str, Any] = SERVICE(metadata, "metadata", True)
    except YamlProblem as exc:
        raise Invalid(f"{exc.reason[:1].upper()}{exc.reason[1:]}") from exc
    for key in ("created_at", "template_id"):
        given.pop(key, None)
    return given


def render_new(values: Mapping[str, Any]) -> str:
    """The text of a new file, documented keys first and in their order, None left out."""
    keys = [*_PUBLIC_ORDER, *(key for key in values if key not in _PUBLIC_ORDER)]
    ordered = {key: _plain(values[key]) for key in keys if values.get(key) is not None}
    return write_yaml(ordered)


def public(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer may show: documented keys only, passwords of ``backup`` masked, fit for JSON."""
    shown: dict[str, Any] = {}
    for key in _PUBLIC_ORDER:
        value = metadata.get(key)
        if value or key not in _LEFT_OUT_WHEN_EMPTY:
            shown[key] = _plain(_documented(key, value))
    if "backup" in shown:
        shown["backup"] = _masked(shown["backup"])
    return shown


@contextmanager
def edit(folder: Path, name: str, kept: KeptDocuments | None = None) -> Iterator[ServiceDocument]:
    """The file as a document to change in place, comments, order and unknown keys kept.

    Leaving the block saves; ``save()`` does so earlier. An exception puts the old bytes back. A
    change that makes the file wrong is ``Invalid``; a file that is wrong before is ``Conflict``
    ``METADATA_UNREADABLE`` and stays as it is. ``kept`` makes the next change of a long file faster.
    """

    def check(text: str) -> None:
        read(text, name, None)

    try:
        try:
            before: bytes | None = read_bytes(folder, FILENAME, MAX_SIZE)
        except FileNotFoundError:
            before = None
        document = ServiceDocument((folder / FILENAME).resolve(), before, check, kept)
    except (Unreadable, YamlProblem, UnicodeDecodeError, OSError) as exc:
        raise Conflict(
            f"{FILENAME} of '{name}' cannot be read and was left as it is: {_reason(exc)}",
            code="METADATA_UNREADABLE",
        ) from exc
    try:
        yield document
        document.save()
    except BaseException:
        document.restore()
        raise
    document.keep()


def _reason(exc: Exception) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "it is not UTF-8"
    return exc.strerror or "it cannot be reached" if isinstance(exc, OSError) else str(exc)


def _defaults(name: str, compose: ComposeFile | None, wanted: str) -> dict[str, Any]:
    primary = compose.primary(wanted) if compose else None
    port = compose.container_port(primary) if compose else None
    return {
        "name": name,
        "type": "",
        "created_at": None,
        "template_id": "",
        "networking": {
            "expose": False,
            "domain": "",
            "service": primary or "",
            "container_port": port or DEFAULT_PORT,
            "protocol": "http",
            "proxy_type": "http",
        },
        "ssl": {"enabled": False, "auto_cert": False},
        "healthcheck": {"path": "/", "interval": "30s"},
        "domains": [],
        "databases": [],
        "quick_actions": [],
        "security": {},
        "backup": {},
        "credential_id": "",
    }


def _filled(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**defaults, **given}
    for key in _INSIDE:
        filled[key] = {**defaults[key], **given.get(key, {})}
    if "auto_cert" not in given.get("ssl", {}):
        # As in an entry of domains: TLS that is wanted is to be had.
        filled["ssl"]["auto_cert"] = filled["ssl"]["enabled"]
    if not filled["networking"]["service"]:
        filled["networking"]["service"] = defaults["networking"]["service"]
    return filled


def _documented(key: str, value: Any) -> Any:
    if key in _INSIDE:
        return _only(value, _INSIDE[key].fields)
    if key in _ITEMS:
        return [_only(item, _ITEMS[key].fields) for item in value or ()]
    return value


def _only(value: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in keys if key in value}


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: MASK if key == "password" and item else _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """A copy in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)
