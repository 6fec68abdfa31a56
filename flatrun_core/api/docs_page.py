"""The API document as one page that needs nothing from elsewhere."""

from collections.abc import Mapping
from typing import Any

from flask import Response
from markupsafe import Markup, escape


def render_page(document: Mapping[str, Any]) -> Response:
    """The page."""
    rows = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                rows.append(
                    f"<li><code>{method.upper()} {escape(path)}</code> {escape(operation.get('summary', ''))}"
                )
    return Response(
        str(Markup("<!doctype html><title>API</title><ul>") + Markup("".join(rows))), mimetype="text/html"
    )
