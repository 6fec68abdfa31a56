"""Errors of getting certificates."""

from datetime import timedelta
from typing import Any

from flatrun_certificates.faults import Fault, sentence, tail
from flatrun_core import Conflict, Failed, FlatrunError, RateLimited, TimedOut, Unavailable


class NotIssued(Failed):
    """500 ``CERTBOT_FAILED``: the reason, then what certbot printed."""

    code = "CERTBOT_FAILED"

    def __init__(self, fault: Fault, output: str) -> None:
        said = tail(output)
        words = f"certbot failed: {said}" if said else ""
        super().__init__(
            " ".join(part for part in (fault.reason if fault.kind or not said else "", words) if part)
        )
        self.fault = fault


class TooMany(RateLimited):
    """429 ``RATE_LIMITED``: the authority, or an earlier failure, asks to wait."""

    def __init__(self, message: str, wait: timedelta | None, fault: Fault | None = None) -> None:
        seconds = int(wait.total_seconds()) + 1 if wait is not None else 0
        super().__init__(message, headers={"Retry-After": str(seconds)} if seconds else None)
        self.wait = wait
        self.fault = fault


class TookTooLong(TimedOut):
    """504 ``TIMED_OUT``: certbot was stopped at its limit."""

    def __init__(self, limit: float, output: str) -> None:
        said = tail(output)
        text = sentence("timeout", limit=limit)
        super().__init__(f"{text} certbot said: {said}" if said else text)
        self.fault = Fault("timeout", text)


class InUse(Conflict):
    """409 ``CERTIFICATE_IN_USE``: sites are served with it; ``vhosts`` names their deployments."""

    code = "CERTIFICATE_IN_USE"


class NotReady(Conflict):
    """409 ``PREFLIGHT_FAILED``: what was seen before the authority would have been asked."""

    code = "PREFLIGHT_FAILED"


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
