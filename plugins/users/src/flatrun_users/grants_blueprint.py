"""The routes of access to deployments, by user and by deployment."""

from typing import Any

from flask.views import MethodView

from flatrun_core import Blueprint, Level, access, identity, record_facts, service
from flatrun_users.account_schemas import (
    AccessListAnswer,
    GrantAnswer,
    GrantSchema,
    HoldersAnswer,
    LevelSchema,
    MessageAnswer,
)
from flatrun_users.grants import GRANTS
from flatrun_users.row_ids import row_id

blp = Blueprint(
    "users_access", __name__, url_prefix="/api/users", description="What users were given of deployments"
)
deployments_blp = Blueprint(
    "users_deployments", __name__, url_prefix="/api/deployments", description="Who was given a deployment"
)


@blp.route("/<user_id>/deployments")
class UserDeployments(MethodView):
    """A user's deployments."""

    @access("users:read", resource="user")
    @blp.raises(400, 404)
    @blp.response(200, AccessListAnswer)
    def get(self, user_id: str) -> dict[str, Any]:
        """List the deployments given to a user that you may read."""
        return {"deployments": service(GRANTS).of_user(identity(), row_id(user_id))}

    @access("users:write", action="users.deployments.grant", resource="user")
    @blp.arguments(GrantSchema)
    @blp.raises(404)
    @blp.alt_response(200, schema=GrantAnswer, description="The user had access, which was changed")
    @blp.response(201, GrantAnswer)
    def post(self, body: dict[str, str], user_id: str) -> Any:
        """Give a user a deployment on which you hold `admin` yourself, or change what was given."""
        name, level = body["deployment_name"], body["access_level"]
        record_facts(deployment=name, access_level=level)
        new = service(GRANTS).grant(identity(), row_id(user_id), name, level)
        return _given("granted", name, level), 201 if new else 200


@blp.route("/<user_id>/deployments/<name>")
class UserDeployment(MethodView):
    """One deployment of a user."""

    @access("users:write", level=Level.ADMIN, action="users.deployments.update", resource="user")
    @blp.arguments(LevelSchema)
    @blp.raises(404)
    @blp.response(200, GrantAnswer)
    def put(self, body: dict[str, str], user_id: str, name: str) -> dict[str, str]:
        """Change what was given of a deployment on which you hold `admin` yourself."""
        record_facts(deployment=name, access_level=body["access_level"])
        service(GRANTS).change(identity(), row_id(user_id), name, body["access_level"])
        return _given("updated", name, body["access_level"])

    @access("users:write", level=Level.ADMIN, action="users.deployments.revoke", resource="user")
    @blp.raises(400, 404)
    @blp.response(200, MessageAnswer)
    def delete(self, user_id: str, name: str) -> dict[str, str]:
        """Take a deployment away, on which you hold `admin` yourself."""
        record_facts(deployment=name)
        service(GRANTS).revoke(identity(), row_id(user_id), name)
        return {"message": "Deployment access removed"}


@deployments_blp.route("/<name>/users")
class DeploymentUsers(MethodView):
    """A deployment's users."""

    @access("users:read", level=Level.READ, resource="deployment")
    @deployments_blp.raises(400, 404)
    @deployments_blp.response(200, HoldersAnswer)
    def get(self, name: str) -> dict[str, Any]:
        """List who was given a deployment; administrators have every one without being given any."""
        return {"deployment_name": name, "users": service(GRANTS).of_deployment(name)}


def _given(what: str, name: str, level: str) -> dict[str, str]:
    return {"message": f"Deployment access {what}", "deployment_name": name, "access_level": level}
