"""Containers one by one."""

from typing import Any, Final

from flask import Response, jsonify
from flask.views import MethodView

from flatrun_core import Blueprint, Level, access, event_stream, identity, service
from flatrun_deployments.container_schemas import ContainerAnswer, ContainerList, ContainerQuery, listing
from flatrun_deployments.containers import CONTAINERS
from flatrun_deployments.log_schemas import (
    STREAM_ANSWER,
    STREAM_DESCRIPTION,
    ContainerLogQuery,
    ContainerLogs,
    log_query,
)
from flatrun_deployments.log_stream import LOGS

blp = Blueprint(
    "containers",
    __name__,
    url_prefix="/api/containers",
    description="Containers of deployments, and for whoever has no scope of the whole Engine",
)

_DONE: Final = {"start": "started", "stop": "stopped", "restart": "restarted"}


def _owner(arguments: dict[str, Any]) -> str | None:
    return service(CONTAINERS).owner(arguments["container_id"])


@blp.route("")
class Containers(MethodView):
    """All containers."""

    @access("containers:read", resource="container")
    @blp.arguments(ContainerQuery, location="query")
    @blp.response(200, ContainerList)
    def get(self, query: dict[str, bool]) -> Response:
        """List the containers you may read, by name."""
        items = service(CONTAINERS).list(identity(), stopped=query["all"])
        return jsonify(listing(items))


@blp.route("/<container_id>")
class ContainerView(MethodView):
    """One container."""

    @access(
        "containers:delete",
        level=Level.ADMIN,
        deployment=_owner,
        action="containers.delete",
        resource="container",
    )
    @blp.raises(409)
    @blp.response(200, ContainerAnswer)
    def delete(self, container_id: str) -> dict[str, str]:
        """Remove a container that is stopped; its anonymous volumes stay."""
        service(CONTAINERS).remove(container_id)
        return {"message": "Container removed", "id": container_id}


@blp.route("/<container_id>/start")
class Start(MethodView):
    """Start a container."""

    @access(
        "containers:write",
        level=Level.WRITE,
        deployment=_owner,
        action="containers.start",
        resource="container",
    )
    @blp.raises(409)
    @blp.response(200, ContainerAnswer)
    def post(self, container_id: str) -> dict[str, str]:
        """Start a container, by its id, the beginning of it, or its name; a running one is fine."""
        return _act(container_id, "start")


@blp.route("/<container_id>/stop")
class Stop(MethodView):
    """Stop a container."""

    @access(
        "containers:write",
        level=Level.WRITE,
        deployment=_owner,
        action="containers.stop",
        resource="container",
    )
    @blp.response(200, ContainerAnswer)
    def post(self, container_id: str) -> dict[str, str]:
        """Stop a container, with its own time for that; a stopped one is fine."""
        return _act(container_id, "stop")


@blp.route("/<container_id>/restart")
class Restart(MethodView):
    """Restart a container."""

    @access(
        "containers:write",
        level=Level.WRITE,
        deployment=_owner,
        action="containers.restart",
        resource="container",
    )
    @blp.raises(409)
    @blp.response(200, ContainerAnswer)
    def post(self, container_id: str) -> dict[str, str]:
        """Stop and start a container."""
        return _act(container_id, "restart")


@blp.route("/<container_id>/logs")
class ContainerLogsView(MethodView):
    """Logs of a container."""

    @access("containers:read", level=Level.READ, deployment=_owner, resource="container")
    @blp.arguments(ContainerLogQuery, location="query")
    @blp.raises(429)
    @blp.response(200, ContainerLogs)
    @blp.doc(description=STREAM_DESCRIPTION, responses=STREAM_ANSWER)
    def get(self, query: dict[str, Any], container_id: str) -> dict[str, Any] | Response:
        """Read the last lines of a container, both streams by time, or follow them."""
        if query["follow"]:
            return event_stream(service(LOGS).follow_container(container_id, log_query(query)))
        return {"id": container_id, "logs": service(LOGS).read_container(container_id, log_query(query))}


def _act(container_id: str, action: str) -> dict[str, str]:
    service(CONTAINERS).act(container_id, action)
    return {"message": f"Container {_DONE[action]}", "id": container_id}
