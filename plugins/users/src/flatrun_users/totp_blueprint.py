"""The routes below ``/api/users/me/totp``."""

from typing import Any

from flask.views import MethodView

from flatrun_core import Blueprint, authenticated, client_ip, identity, service
from flatrun_users.auth_schemas import CodeBody, DisabledAnswer, EnrolmentAnswer, RecoveryCodesAnswer
from flatrun_users.caller import caller_of
from flatrun_users.totp import TOTP, Enrolment

blp = Blueprint("totp", __name__, url_prefix="/api/users/me/totp", description="The second factor")


@blp.route("")
class Totp(MethodView):
    """The caller's second factor."""

    @authenticated(action="users.totp.enrol", resource="user")
    @blp.raises(400, 409)
    @blp.response(200, EnrolmentAnswer)
    def post(self) -> Enrolment:
        """Begin to set up a second factor; it has no effect until this session confirms it."""
        return service(TOTP).enrol(caller_of(identity()))

    @authenticated(action="users.totp.disable", resource="user")
    @blp.arguments(CodeBody)
    @blp.raises(409, 429)
    @blp.response(200, DisabledAnswer)
    def delete(self, body: dict[str, Any]) -> dict[str, str]:
        """Disable the second factor, by one of its codes or a recovery code."""
        service(TOTP).disable(caller_of(identity()), body["code"], client_ip())
        return {"message": "Second factor disabled"}


@blp.route("/confirm")
class Confirm(MethodView):
    """Confirming a second factor."""

    @authenticated(action="users.totp.confirm", resource="user")
    @blp.arguments(CodeBody)
    @blp.raises(409, 429)
    @blp.response(200, RecoveryCodesAnswer)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Confirm the second factor by its first code, which ends your other sessions; API keys go on.

        The recovery codes are shown only here.
        """
        codes = service(TOTP).confirm(caller_of(identity()), body["code"], client_ip())
        return {"recovery_codes": codes}
