"""The routes below ``/api/users`` that concern accounts; ``me`` is found before ``<user_id>``."""

from typing import Any

from flask.views import MethodView

from flatrun_core import Blueprint, access, authenticated, client_ip, identity, record_facts, service
from flatrun_users.account_schemas import (
    MeAnswer,
    MessageAnswer,
    NewUserSchema,
    OwnChangeSchema,
    PasswordSchema,
    UserAnswer,
    UserChangeSchema,
    UserDetailsAnswer,
    UsersAnswer,
)
from flatrun_users.accounts import ACCOUNTS
from flatrun_users.grants import GRANTS
from flatrun_users.own_account import OWN_ACCOUNT, Me
from flatrun_users.row_ids import row_id

blp = Blueprint(
    "users", __name__, url_prefix="/api/users", description="Accounts, and what each of them may touch"
)


@blp.route("/me")
class MeView(MethodView):
    """The caller's own account."""

    @authenticated(resource="user")
    @blp.response(200, MeAnswer)
    def get(self) -> Me:
        """Show who you are, what you may do, and the deployments that were given to you.

        Without an account (a key of the settings, authentication off) `user` is null.
        """
        return service(OWN_ACCOUNT).show(identity())

    @authenticated(action="users.update_self", resource="user")
    @blp.arguments(OwnChangeSchema)
    @blp.raises(403)
    @blp.response(200, UserAnswer)
    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        """Change your email address; not with an API key."""
        record_facts(changed=sorted(body))
        return {"user": service(OWN_ACCOUNT).update(identity(), body.get("email"))}


@blp.route("/me/password")
class OwnPassword(MethodView):
    """The caller's own password."""

    @authenticated(action="users.change_password", resource="user")
    @blp.arguments(PasswordSchema)
    @blp.raises(403, 429)
    @blp.response(200, MessageAnswer)
    def put(self, body: dict[str, str]) -> dict[str, str]:
        """Change your password, which ends your other sessions; API keys go on. Not with an API key.

        Wrong current passwords count as failed logins do.
        """
        given = body["current_password"], body["new_password"]
        service(OWN_ACCOUNT).change_password(identity(), *given, client_ip())
        return {"message": "Password updated"}


@blp.route("")
class Users(MethodView):
    """All accounts."""

    @access("users:read", resource="user")
    @blp.response(200, UsersAnswer)
    def get(self) -> dict[str, Any]:
        """List the accounts, newest first."""
        return {"users": service(ACCOUNTS).all()}

    @access("users:write", action="users.create", resource="user")
    @blp.arguments(NewUserSchema)
    @blp.raises(409)
    @blp.response(201, UserAnswer)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create an account; nobody but an administrator may give more than he holds himself."""
        made = service(ACCOUNTS).create(identity(), body)
        record_facts(resource_id=str(made.id))
        return {"user": made}


@blp.route("/<user_id>")
class UserView(MethodView):
    """One account."""

    @access("users:read", resource="user")
    @blp.raises(400, 404)
    @blp.response(200, UserDetailsAnswer)
    def get(self, user_id: str) -> dict[str, Any]:
        """Show an account, and the deployments given to it that you may read."""
        number = row_id(user_id)
        given = service(GRANTS).of_user(identity(), number)
        return {"user": service(ACCOUNTS).one(number), "deployments": given}

    @access("users:write", action="users.update", resource="user")
    @blp.arguments(UserChangeSchema)
    @blp.raises(404, 409)
    @blp.response(200, UserAnswer)
    def put(self, body: dict[str, Any], user_id: str) -> dict[str, Any]:
        """Change an account; a password or second factor given here is an administrator's reset.

        Effective on the next request. The last active administrator can be neither demoted nor
        deactivated. Nobody but an administrator may touch administrators, give more than he holds, or
        rename, revive or reset accounts that may do more than he. Your own password and second factor
        are changed below `/api/users/me`, also by administrators, and an API key changes nothing of
        its owner.
        """
        changed = service(ACCOUNTS).update(identity(), row_id(user_id), body)
        record_facts(changed=list(changed.fields))
        return {"user": changed.account}

    @access("users:delete", action="users.delete", resource="user")
    @blp.raises(400, 404, 409)
    @blp.response(200, MessageAnswer)
    def delete(self, user_id: str) -> dict[str, str]:
        """Delete an account with its keys, sessions and access; neither yours nor the last admin's."""
        service(ACCOUNTS).delete(identity(), row_id(user_id))
        return {"message": "User deleted"}
