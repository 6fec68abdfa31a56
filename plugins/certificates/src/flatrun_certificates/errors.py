"""Errors of getting certificates."""

from datetime import timedelta
from typing import Any

from flatrun_certificates.faults import Fault, sentence, tail
from flatrun_core import Conflict, Failed, FlatrunError, RateLimited, TimedOut, Unavailable


class NotIssued(Failed):
    """500 ``CERTBOT_FAILED``: ``message`` is why, ``details["output"]`` the end of what certbot printed.

    An answer has both in ``error``.
    """

    code = "CERTBOT_FAILED"

    def __init__(self, fault: Fault, output: str) -> None:
        super().__init__(fault.reason, output=tail(output))
        self.fault = fault

    def body(self) -> dict[str, Any]:
        """The reason, then certbot's words."""
        said = self.details["output"]
        words = f"certbot failed: {said}" if said else ""
        # Of a fault that nobody knows the reason is the last of certbot's words.
        reason = self.message if self.fault.kind or not said else ""
        return {"error": " ".join(part for part in (reason, words) if part), "code": self.code}


class TooMany(RateLimited):
    """429 ``RATE_LIMITED``: the authority, or an earlier failure, asks to wait."""

    def __init__(self, message: str, wait: timedelta | None, fault: Fault | None = None) -> None:
        seconds = int(wait.total_seconds()) + 1 if wait is not None else 0
        super().__init__(message, headers={"Retry-After": str(seconds)} if seconds else None)
        self.wait = wait
        self.fault = fault


class TookTooLong(TimedOut):
    """504 ``TIMED_OUT``: certbot was stopped at its limit; ``details["output"]`` is the end of its words."""

    def __init__(self, limit: float, output: str) -> None:
        text = sentence("timeout", limit=limit)
        super().__init__(text, output=tail(output))
        self.fault = Fault("timeout", text)

    def body(self) -> dict[str, Any]:
        """The sentence, then certbot's words."""
        said = self.details["output"]
        return {"error": f"{self.message} certbot said: {said}" if said else self.message, "code": self.code}


class InUse(Conflict):
    """409 ``CERTIFICATE_IN_USE``: sites are served with it; ``vhosts`` names their deployments."""

    code = "CERTIFICATE_IN_USE"


class NotReady(Conflict):
    """409 ``PREFLIGHT_FAILED``: what was seen before the authority would have been asked."""

    code = "PREFLIGHT_FAILED"


class Stopped(Unavailable):
    """503: the panel ends, so nothing was asked and nothing counts as a failure."""

    def __init__(self) -> None:
        super().__init__("The panel is being stopped: ask again when it runs")


class ProxyDown(Unavailable):
    """503 ``NGINX_NOT_RUNNING``: the authority would fetch its proof from a proxy that does not run."""

    code = "NGINX_NOT_RUNNING"

    def __init__(self, **details: Any) -> None:
        super().__init__(
            "The proxy does not run, and the authority fetches its proof from it: start it (`flatrun doctor` "
            "says what keeps it from running), then ask again",
            **details,
        )


def fault_of(error: BaseException) -> Fault:
    """Why an attempt failed, whoever's issuer raised it."""
    found: Any = getattr(error, "fault", None)
    if isinstance(found, Fault):
        return found
    message = error.message if isinstance(error, FlatrunError) else f"{type(error).__name__}: {error}"
    return Fault("rateLimited" if isinstance(error, RateLimited) else "", message)


def in_full(error: BaseException) -> str:
    """What an answer says of an error, certbot's own words too."""
    return str(error.body()["error"]) if isinstance(error, FlatrunError) else str(error)
