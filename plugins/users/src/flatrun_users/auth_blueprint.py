"""The routes below ``/api/auth``."""

from typing import Any

from flask import request
from flask.views import MethodView

from flatrun_core import (
    Blueprint,
    Unauthenticated,
    authenticated,
    client_ip,
    identify,
    identity,
    public,
    record_facts,
    service,
)
from flatrun_core.ports.auth import Identity
from flatrun_users.auth_schemas import (
    LoggedOutAnswer,
    LoginAnswer,
    LoginBody,
    NotValidAnswer,
    SessionEndedAnswer,
    SessionsAnswer,
    StatusAnswer,
    ValidAnswer,
)
from flatrun_users.authentication import AUTHENTICATION
from flatrun_users.caller import caller_of
from flatrun_users.login import LOGINS, Given, LoggedIn
from flatrun_users.sessions import SESSIONS, Client

blp = Blueprint("auth", __name__, url_prefix="/api/auth", description="Logins, tokens and sessions")

_DISABLED = "Authentication disabled"


@blp.route("/status")
class Status(MethodView):
    """Whether one must log in."""

    @public(resource="auth")
    @blp.response(200, StatusAnswer)
    def get(self) -> dict[str, bool]:
        """Tell whether a credential is needed, and whether the one sent along is valid."""
        return {"enabled": service(AUTHENTICATION).enabled, "authenticated": _is_valid()}


@blp.route("/login")
class Login(MethodView):
    """Logging in."""

    @public(action="auth.login", resource="auth")
    @blp.arguments(LoginBody)
    @blp.raises(401, 429)
    @blp.response(200, LoginAnswer)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Log in with a password or an API key, for a token."""
        if not service(AUTHENTICATION).enabled:
            return {"token": "", "message": _DISABLED}
        given = Given(**body)
        record_facts(actor=service(LOGINS).attempted(given))
        done = service(LOGINS).log_in(given, Client(client_ip(), request.headers.get("User-Agent", "")))
        record_facts(actor=done.actor)
        return _answer(done)


@blp.route("/validate")
class Validate(MethodView):
    """Whether a credential is valid."""

    @public(resource="auth")
    @blp.response(200, ValidAnswer)
    @blp.alt_response(401, schema=NotValidAnswer)
    def get(self) -> dict[str, Any]:
        """Tell whether the credential sent along is valid, and how long."""
        found = _identity_or_401()
        message = "Token is valid" if service(AUTHENTICATION).enabled else _DISABLED
        return {"valid": True, "message": message, "expires_at": found.expires_at}


@blp.route("/logout")
class Logout(MethodView):
    """Logging out."""

    @authenticated(action="auth.logout", resource="auth")
    @blp.raises(400)
    @blp.response(200, LoggedOutAnswer)
    def post(self) -> dict[str, str]:
        """End the session of the token sent along."""
        service(SESSIONS).log_out(caller_of(identity()))
        return {"message": "Logged out"}


@blp.route("/sessions")
class Sessions(MethodView):
    """The caller's sessions."""

    @authenticated(resource="auth")
    @blp.response(200, SessionsAnswer)
    def get(self) -> dict[str, Any]:
        """List the caller's own sessions, newest first."""
        return {"sessions": service(SESSIONS).of(caller_of(identity()))}


@blp.route("/sessions/<session_id>")
class Session(MethodView):
    """One of the caller's sessions."""

    @authenticated(action="auth.sessions.revoke", resource="auth")
    @blp.raises(404)
    @blp.response(200, SessionEndedAnswer)
    def delete(self, session_id: str) -> dict[str, str]:
        """End one of the caller's own sessions."""
        service(SESSIONS).revoke(caller_of(identity()), session_id)
        return {"message": "Session revoked"}


def _is_valid() -> bool:
    try:
        identify()
    except Unauthenticated:
        return False
    return True


def _identity_or_401() -> Identity:
    """The identity; the 401 of this route says ``valid`` too."""
    try:
        return identify()
    except Unauthenticated as exc:
        raise Unauthenticated(exc.message, code=exc.code, valid=False) from exc


def _answer(done: LoggedIn) -> dict[str, Any]:
    return {
        "token": done.session.token,
        "token_type": "Bearer",
        "expires_in": done.session.expires_in,
        "expires_at": done.session.expires_at,
        "user": done.user,
        "permissions": done.permissions,
        "deployments": [
            {"deployment_name": name, "access_level": level.name.lower()} for name, level in done.deployments
        ],
    }
