"""The one error type of the project and the body it becomes on the wire.

Services raise these, adapters translate foreign errors into them, views catch nothing. The body
is always ``{"error": sentence, "code": UPPER_SNAKE}`` plus the keys an endpoint names.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class FlatrunError(Exception):
    """A failure with a sentence for people and a stable code for programs.

    ``details`` become further keys of the body; only keys that the endpoint's entry in the API
    documentation names may be given. ``code`` replaces the class's code for one raise.
    """

    status: ClassVar[int] = 500
    code: str = "INTERNAL_ERROR"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.headers: Mapping[str, str] = headers or {}
        self.details: Mapping[str, Any] = details

    def body(self) -> dict[str, Any]:
        """The answer's JSON object."""
        return {"error": self.message, "code": self.code, **self.details}


class Invalid(FlatrunError):
    """400: the request, or a value in it, cannot be accepted."""

    status = 400
    code = "VALIDATION_ERROR"


class Unauthenticated(FlatrunError):
    """401: no credential, or one that is not accepted."""

    status = 401
    code = "AUTH_REQUIRED"


class Forbidden(FlatrunError):
    """403: the identity lacks a permission or a deployment."""

    status = 403
    code = "PERMISSION_DENIED"


class NotFound(FlatrunError):
    """404: no such object."""

    status = 404
    code = "NOT_FOUND"


class Conflict(FlatrunError):
    """409: a duplicate, something in use, or a state in which this cannot be done."""

    status = 409
    code = "CONFLICT"


class TooLarge(FlatrunError):
    """413: the body is larger than the route takes."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"


class RateLimited(FlatrunError):
    """429: too many attempts, or more streams than one actor may hold."""

    status = 429
    code = "RATE_LIMITED"


class Failed(FlatrunError):
    """500: a program or the Engine was reached and refused or failed."""


class UpstreamFailed(FlatrunError):
    """502: a remote service cannot be reached or answered with an error of its own."""

    status = 502
    code = "UPSTREAM_FAILED"


class Unavailable(FlatrunError):
    """503: something this needs is off, down or full; trying later may help."""

    status = 503
    code = "UNAVAILABLE"


class DockerUnavailable(Unavailable):
    """503: the Docker Engine does not answer."""

    code = "DOCKER_UNAVAILABLE"


class TimedOut(FlatrunError):
    """504: a program or a remote service took longer than its limit."""

    status = 504
    code = "TIMED_OUT"


class StartupError(Exception):
    """The panel cannot start; the text says what is wrong and what to do."""
