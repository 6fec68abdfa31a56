"""Every failure becomes the one error body: our own, the framework's and the unexpected."""

import logging
from typing import Any, cast

from flask import Flask, Response, current_app, g, request
from marshmallow import Schema
from marshmallow import fields as ma_fields
from werkzeug.exceptions import HTTPException

from flatrun_core.errors import FlatrunError

log = logging.getLogger(__name__)

UNEXPECTED = "An unexpected error occurred; the log has the details under this request id"

CLIENT_ERROR, SERVER_ERROR = 400, 500

_CODES = {
    400: "INVALID_REQUEST",
    401: "AUTH_REQUIRED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    414: "URI_TOO_LONG",
    429: "RATE_LIMITED",
    503: "UNAVAILABLE",
}
_TEXTS = {
    404: "There is nothing at this address",
    405: "This address does not accept that method",
    413: "The request body is larger than this route accepts",
}


class ErrorSchema(Schema):
    """The body of every answer that is not a success."""

    error = ma_fields.String(
        required=True, metadata={"description": "What went wrong, as a sentence for people"}
    )
    code = ma_fields.String(required=True, metadata={"description": "A stable UPPER_SNAKE code for programs"})


def register_error_handlers(app: Flask) -> None:
    """Shape everything a request may raise."""
    app.register_error_handler(FlatrunError, answer_error)
    app.register_error_handler(HTTPException, _framework)
    app.register_error_handler(Exception, answer_unexpected)


def answer_error(error: FlatrunError) -> Response:
    """The answer to one of our own errors."""
    if error.status >= SERVER_ERROR:
        log.warning(
            "%s %s: %s (%s)",
            request.method,
            request.path,
            error.message,
            error.code,
            exc_info=error.__cause__,
        )
    return _answer(error.status, error.body(), dict(error.headers))


def answer_unexpected(error: Exception) -> Response:
    """500 with a fixed text, or 503 when it is the database that cannot serve; the log has the rest."""
    unavailable = current_app.extensions["flatrun"].database.unavailable(error)
    if unavailable is not None:
        return answer_error(unavailable)
    log.error(
        "%s %s failed, request %s", request.method, request.path, g.get("flatrun_request_id"), exc_info=error
    )
    return _answer(500, {"error": UNEXPECTED, "code": "INTERNAL_ERROR"}, {})


def _framework(error: HTTPException) -> Response:
    status = error.code or 500
    if status < CLIENT_ERROR and error.response is not None:
        # A redirect of the router; this API has none.
        status = 404
    if status >= SERVER_ERROR:
        original = getattr(error, "original_exception", None)
        return answer_unexpected(original or error)
    text = _TEXTS.get(status) or (error.description or error.name)
    headers = {k: v for k, v in error.get_headers() if k.lower() in ("allow", "retry-after")}
    return _answer(
        status, {"error": " ".join(text.split()), "code": _CODES.get(status, "INVALID_REQUEST")}, headers
    )


def json_response(body: Any) -> Response:
    """A JSON answer; Flask types it as the base class of what it is."""
    return cast(Response, current_app.json.response(body))


def _answer(status: int, body: dict[str, Any], headers: dict[str, str]) -> Response:
    g.flatrun_error = body["error"]
    response = json_response(body)
    response.status_code = status
    response.headers.update(headers)
    return response
