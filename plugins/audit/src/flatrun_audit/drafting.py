"""Which requests become events, and what of them an event keeps."""

from collections.abc import Mapping
from typing import Any, Final

from flatrun_audit.chain import Draft
from flatrun_audit.hiding import hidden
from flatrun_audit.models import Begun
from flatrun_audit.process import Process
from flatrun_audit.redaction import redacted, redacted_query, secrets_in, without
from flatrun_audit.settings import AuditSettings
from flatrun_audit.texts import REDACTED, clean
from flatrun_core.ports.auth import RecordedEvent, RecordedOutcome, RecordedRequest

LOGIN: Final = "auth.login"
UNAUTHENTICATED: Final = 401
TOO_MANY: Final = 429
REFUSED: Final = (401, 403)
FIRST_ERROR: Final = 400
INTERRUPTED: Final = "The panel stopped before this request ended"
UNWRITTEN: Final = "The event of this request could not be written when it ended"


def worth_recording(request: RecordedRequest, outcome: RecordedOutcome, settings: AuditSettings) -> bool:
    """Changes, refusals and reads of secrets; other reads when they are wanted and name a resource."""
    return (
        request.mutation
        or outcome.status in REFUSED
        or request.secret
        or (settings.record_reads and bool(request.resource_type))
    )


def is_countable(request: RecordedRequest, outcome: RecordedOutcome, *, admitted: bool) -> bool:
    """Whether a flood of these becomes few events: refused unseen, for want of a credential or of patience.

    A login that was looked at and failed is none of them.
    """
    if request.identity is not None or request.actor.type != "anonymous":
        return False
    return outcome.status == TOO_MANY or (outcome.status == UNAUTHENTICATED and not admitted)


def drafted(request: RecordedRequest, outcome: RecordedOutcome, settings: AuditSettings) -> Draft:
    """The event of a request that ended."""
    action = action_of(request)
    metadata = dict(outcome.metadata)
    if request.query:
        metadata["query"] = redacted_query(request.query)
    body = _told(request) if request.mutation else None
    return Draft(
        timestamp=_microseconds(request.started),
        actor=request.actor,
        action=action,
        resource_type=request.resource_type,
        resource_id=outcome.resource_id or request.resource_id,
        method=request.method,
        path=request.path,
        client_ip=request.client_ip,
        user_agent=request.user_agent,
        request_id=request.request_id,
        request_body=_body(body, action) if settings.capture_request_body and body is not None else "",
        response_status=outcome.status,
        response_time_ms=outcome.elapsed_ms,
        success=outcome.status < FIRST_ERROR,
        error_message=_error(outcome.error, body, action),
        metadata=metadata,
    )


def _told(request: RecordedRequest) -> Any:
    """The body; of a login whose actor is nobody without a name, which may be a secret in the wrong field."""
    body = request.body
    if (
        request.action == LOGIN
        and isinstance(body, Mapping)
        and "username" in body
        and not request.actor.name
    ):
        return {**body, "username": REDACTED}
    return body


def action_of(request: RecordedRequest) -> str:
    """The route's action; ``<resource>.read`` and the like for a route that names none."""
    if request.action:
        return request.action
    verb = request.method.lower() if request.mutation else "read"
    return f"{request.resource_type or 'request'}.{verb}"


def begun(request: RecordedRequest, process: Process) -> Begun:
    """What is written down before a change is made."""
    actor = request.actor
    return Begun(
        clean(request.request_id, 64),
        _microseconds(request.started),
        clean(actor.type, 32),
        clean(hidden(actor.id), 100),
        clean(hidden(actor.name), 100),
        clean(actor.key_prefix, 32),
        clean(action_of(request), 100),
        clean(request.method, 16),
        clean(hidden(request.path), 1000),
        clean(request.resource_type, 100),
        clean(hidden(request.resource_id), 255),
        clean(request.client_ip, 64),
        host=process.host,
        pid=process.pid,
        started=process.started,
    )


def noted(event: RecordedEvent, moment: int) -> Draft:
    """The event of work that is no request."""
    return Draft(
        timestamp=moment,
        actor=event.actor,
        action=event.action,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        success=not event.error,
        error_message=event.error,
        metadata=event.metadata,
    )


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _body(body: Any, action: str) -> str:
    return redacted(body, action=action)


def _error(text: str, body: Any, action: str) -> str:
    """The answer's sentence, which may repeat what was sent."""
    if not text:
        return ""
    return without(text, secrets_in(body, action=action))
