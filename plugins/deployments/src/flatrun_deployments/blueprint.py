"""The deployments routes; logs, statistics and containers have blueprints of their own."""

from typing import Any

from flask import Response, jsonify
from flask.views import MethodView

from flatrun_core import Blueprint, Level, access, identity, record_facts, service
from flatrun_core.ports.deployments import DEPLOYMENTS
from flatrun_deployments import answers
from flatrun_deployments.recipes import RECIPE_BOOK
from flatrun_deployments.schemas import (
    ActionAnswer,
    ComposeRefusal,
    CreatedAnswer,
    CreateSchema,
    DeploymentAnswer,
    DeploymentItem,
    RecipeAnswer,
    RecipeSchema,
    RemovedAnswer,
    RemoveQuery,
)
from flatrun_deployments.service import DONE, SERVICE

REFUSED = "Compose failed (`COMPOSE_FAILED`), or the Engine has no network addresses left"

blp = Blueprint(
    "deployments",
    __name__,
    url_prefix="/api/deployments",
    description="Folders with a compose file: create, run and remove them",
)
recipes_blp = Blueprint(
    "deployments_recipes",
    __name__,
    url_prefix="/api/plugins",
    description="Deployments that plugins know how to make",
)


@blp.route("")
class DeploymentList(MethodView):
    """All deployments."""

    @access("deployments:read", resource="deployment")
    @blp.response(200, DeploymentItem(many=True))
    def get(self) -> Response:
        """List the deployments you may read, by name; infrastructure has a list of its own.

        With the Docker Engine down every status is `unknown`.
        """
        may_read = identity().can
        found = (
            deployment
            for deployment in service(DEPLOYMENTS).list()
            if may_read(Level.READ, deployment.name) and not _is_infrastructure(deployment.metadata)
        )
        return jsonify(answers.items(found))

    @access("deployments:write", action="deployments.create", resource="deployment")
    @blp.arguments(CreateSchema)
    @blp.raises(403, 404, 409)
    @blp.alt_response(
        400, schema=ComposeRefusal, description="The request, or the compose text, is not valid"
    )
    @blp.response(201, CreatedAnswer)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create a deployment, completely or not at all, and start it when asked.

        The compose text is kept byte for byte. What fails after the files stand (login, start,
        proxy) is told in the answer and does not undo the creation.
        """
        record_facts(resource_id=body["name"])
        return answers.created(service(DEPLOYMENTS).create(answers.new_deployment(body), identity()))


@blp.route("/<name>")
class DeploymentView(MethodView):
    """One deployment."""

    @access("deployments:read", level=Level.READ, resource="deployment")
    @blp.response(200, DeploymentAnswer)
    def get(self, name: str) -> Response:
        """Show a deployment with its services, metadata and compose text."""
        return jsonify(answers.details(*service(SERVICE).details(name)))

    @access("deployments:delete", level=Level.ADMIN, action="deployments.delete", resource="deployment")
    @blp.arguments(RemoveQuery, location="query")
    @blp.raises(409)
    @blp.alt_response(500, schema=ComposeRefusal, description=REFUSED)
    @blp.response(200, RemovedAnswer)
    def delete(self, query: dict[str, bool], name: str) -> dict[str, Any]:
        """Delete a deployment; its files stay unless `remove_files` is true.

        When its containers cannot be brought down, nothing else is done.
        """
        return answers.removed(service(DEPLOYMENTS).remove(name, answers.remove_options(query), identity()))


@blp.route("/<name>/start")
class Start(MethodView):
    """Bring a deployment up."""

    @access("deployments:write", level=Level.WRITE, action="deployments.start", resource="deployment")
    @blp.raises(409)
    @blp.alt_response(500, schema=ComposeRefusal, description=REFUSED)
    @blp.alt_response(504, schema=ComposeRefusal, description="Compose took longer than ten minutes")
    @blp.response(200, ActionAnswer)
    def post(self, name: str) -> dict[str, Any]:
        """Start a deployment (`compose up -d --remove-orphans`); starting a running one is fine."""
        return _act(name, "start")


@blp.route("/<name>/stop")
class Stop(MethodView):
    """Stop a deployment."""

    @access("deployments:write", level=Level.WRITE, action="deployments.stop", resource="deployment")
    @blp.raises(409)
    @blp.alt_response(500, schema=ComposeRefusal, description=REFUSED)
    @blp.alt_response(504, schema=ComposeRefusal, description="Compose took longer than ten minutes")
    @blp.response(200, ActionAnswer)
    def post(self, name: str) -> dict[str, Any]:
        """Stop a deployment (`compose stop`); its containers and networks stay."""
        return _act(name, "stop")


@blp.route("/<name>/restart")
class Restart(MethodView):
    """Recreate a deployment's containers."""

    @access(
        "deployments:write",
        "deployments:restart",
        any_of=True,
        level=Level.WRITE,
        action="deployments.restart",
        resource="deployment",
    )
    @blp.raises(409)
    @blp.alt_response(500, schema=ComposeRefusal, description=REFUSED)
    @blp.alt_response(504, schema=ComposeRefusal, description="Compose took longer than ten minutes")
    @blp.response(200, ActionAnswer)
    def post(self, name: str) -> dict[str, Any]:
        """Recreate the containers, so that edited files and environment take effect."""
        return _act(name, "restart")


@recipes_blp.route("/<name>/deployments")
class RecipeDeployments(MethodView):
    """Deployments by a plugin's recipe."""

    @access("templates:write", "deployments:write", action="plugins.create_deployment", resource="plugin")
    @recipes_blp.arguments(RecipeSchema)
    @recipes_blp.raises(409)
    @recipes_blp.response(201, RecipeAnswer)
    def post(self, body: dict[str, Any], name: str) -> dict[str, Any]:
        """Create a deployment with a plugin's recipe; its credentials are shown only here."""
        made, credentials = service(RECIPE_BOOK).create(
            name, body["name"], body["config"], identity(), auto_start=body["auto_start"]
        )
        return answers.of_recipe(service(DEPLOYMENTS).get(made.name), credentials)


def _act(name: str, action: str) -> dict[str, Any]:
    result = service(DEPLOYMENTS).act(name, action, identity())
    return {"message": f"Deployment {DONE[action]}", "name": result.name, "output": result.output}


def _is_infrastructure(metadata: Any) -> bool:
    return bool(metadata) and metadata.get("type") == "infrastructure"
