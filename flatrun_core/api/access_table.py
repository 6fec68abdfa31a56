"""What every route requires, as it is published."""

import re
from collections.abc import Mapping
from typing import Any

from flatrun_core.ports.auth import Access

_PARAMETER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


def document_path(rule: str) -> str:
    """A route's rule as the API document writes it: ``/api/deployments/{name}``."""
    return _PARAMETER.sub(r"{\1}", rule)


def published_accesses(accesses: Mapping[tuple[str, str], tuple[str, Access]]) -> list[dict[str, Any]]:
    """Each route's declaration, by path and method; internal routes are nobody's business.

    ``accesses`` maps (rule, lower-case method) to the plugin and what its view declares.
    """
    return [
        {
            "method": method.upper(),
            "path": document_path(rule),
            "access": access.kind,
            "permissions": list(access.permissions),
            "any_of": access.any_of,
            "level": access.level.name.lower() if access.level is not None else None,
            "plugin": plugin,
        }
        for (rule, method), (plugin, access) in sorted(accesses.items())
        if access.kind != "internal"
    ]
