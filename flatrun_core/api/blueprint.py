"""flask-smorest's blueprint with this API's conventions: strict JSON bodies, 400 for what is wrong."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import flask_smorest
from flask import Request, g
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from flatrun_core.errors import Invalid, TooLarge

F = TypeVar("F", bound=Callable[..., Any])

MAX_PROBLEMS = 5
MAX_DIGITS = 40


class RequestParser(FlaskParser):
    """Reads bodies and queries; every failure is one sentence with status 400."""

    DEFAULT_VALIDATION_STATUS = 400
    # What a schema does not know is its own decision; ours leave it out (`InputSchema`).
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {}  # noqa: RUF012 - webargs declares it so

    def load_json(self, req: Request, schema: Schema) -> dict[str, Any]:
        """The body as an object; an absent one counts as empty when no field is required."""
        body = read_json(req)
        if body is None:
            if any(field.required for field in schema.fields.values()):
                raise Invalid("A JSON object is required as the request body", code="INVALID_BODY")
            return {}
        return body

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: Any,
        error_headers: Any,
    ) -> NoReturn:
        """Turn marshmallow's nested messages into one sentence."""
        messages = error.messages
        if isinstance(messages, Mapping) and len(messages) == 1:
            messages = next(iter(messages.values()))  # webargs wraps them in the location
        raise Invalid(sentence(messages))


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A flask-smorest blueprint whose arguments and errors follow this API's conventions."""

    ARGUMENTS_PARSER = RequestParser()

    def raises(self, *statuses: int) -> Callable[[F], F]:
        """Document the error statuses a method answers beside those that its access implies."""

        def decorate(view: F) -> F:
            for status in statuses:
                view = self.alt_response(status, response="ERROR")(view)
            return view

        return decorate


def read_json(req: Request) -> dict[str, Any] | None:
    """The body as an object, parsed once a request; None without one; else 400 ``INVALID_BODY``."""
    if "flatrun_json" not in g:
        g.flatrun_json = _parse(req)
    body: dict[str, Any] | None = g.flatrun_json
    return body


def _parse(req: Request) -> dict[str, Any] | None:
    try:
        raw = req.get_data(cache=True)
    except RequestEntityTooLarge as exc:
        raise TooLarge("The request body is larger than this route accepts") from exc
    if not raw.strip():
        return None
    if not req.is_json:
        raise Invalid(
            "The request body must be JSON with Content-Type: application/json", code="INVALID_BODY"
        )
    try:
        # Decoded here: of bytes json would take UTF-16 and UTF-32 too. A mark before the text is left out.
        text = raw.decode("utf-8-sig")
        body = json.loads(text, parse_constant=_refuse_constant, parse_int=_integer)
        json.dumps(body, ensure_ascii=False).encode()  # refuses lone surrogates, which no storage takes
    except RecursionError as exc:
        raise Invalid("The request body is nested too deeply", code="INVALID_BODY") from exc
    except ValueError as exc:
        raise Invalid(f"The request body is not valid JSON: {_reason(exc)}", code="INVALID_BODY") from exc
    if not isinstance(body, dict):
        raise Invalid("The request body must be a JSON object", code="INVALID_BODY")
    return body


def sentence(messages: Any) -> str:
    """Marshmallow's messages as text: ``port: must be at most 65535; name: ...``."""
    lines = list(_flatten(messages, ""))
    shown = "; ".join(lines[:MAX_PROBLEMS])
    rest = len(lines) - MAX_PROBLEMS
    return f"{shown}; and {rest} more" if rest > 0 else shown


def _flatten(messages: Any, path: str) -> Any:
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            inner_path = path if key == "_schema" else f"{path}.{key}" if path else str(key)
            yield from _flatten(inner, inner_path)
    elif isinstance(messages, (list, tuple)):
        for inner in messages:
            yield from _flatten(inner, path)
    else:
        text = str(messages).rstrip(".")
        yield f"{path}: {text}" if path else text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _reason(exc: ValueError) -> str:
    if isinstance(exc, json.JSONDecodeError):
        return f"{exc.msg} (line {exc.lineno}, column {exc.colno})"
    if isinstance(exc, UnicodeError):
        return "it is not UTF-8 text"
    return str(exc)
