"""The API document as one page that needs nothing from elsewhere.

The whole text is written here, so that it reads, prints and searches without a script; the script
adds the filter, deep links, copying and trying. Style and script are in the page and named by their
hashes in its Content-Security-Policy, which permits nothing else.
"""

import base64
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from flask import Response, current_app, request

from flatrun_core.api.docs_html import page_html

_CACHE = "flatrun_docs_page"


@dataclass(frozen=True)
class _Page:
    """The finished bytes of one document."""

    document: Mapping[str, Any]
    plain: bytes
    packed: bytes
    policy: str
    etag: str


def render_page(document: Mapping[str, Any]) -> Response:
    """The page of a document; made once for each document of an application."""
    page: _Page | None = current_app.extensions.get(_CACHE)
    if page is None or page.document is not document:
        page = current_app.extensions[_CACHE] = _make(document)
    packed = bool(request.accept_encodings["gzip"])
    response = Response(page.packed if packed else page.plain, mimetype="text/html")
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Content-Security-Policy"] = page.policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-cache"
    response.vary.add("Accept-Encoding")
    response.set_etag(page.etag, weak=True)
    response.make_conditional(request)
    return response


def _make(document: Mapping[str, Any]) -> _Page:
    style, script = _asset("docs.css"), _asset("docs.js")
    plain = page_html(document, style, script).encode()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_source(style)}",
            f"script-src {_source(script)}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    etag = hashlib.sha256(plain).hexdigest()[:32]
    return _Page(document, plain, gzip.compress(plain, mtime=0), policy, etag)


def _asset(name: str) -> str:
    return (resources.files("flatrun_core.api") / "assets" / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
