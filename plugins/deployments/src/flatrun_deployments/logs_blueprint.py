"""Logs and statistics of deployments."""

from dataclasses import asdict
from typing import Any

from flask import Response
from flask.views import MethodView

from flatrun_core import Blueprint, Level, access, event_stream, service
from flatrun_deployments.log_schemas import (
    STREAM_ANSWER,
    STREAM_DESCRIPTION,
    DeploymentLogQuery,
    DeploymentLogs,
    DeploymentStats,
    log_query,
)
from flatrun_deployments.log_stream import LOGS
from flatrun_deployments.statistics import STATISTICS

blp = Blueprint(
    "deployments_logs",
    __name__,
    url_prefix="/api/deployments",
    description="What deployments say and use",
)


@blp.route("/<name>/logs")
class DeploymentLogsView(MethodView):
    """Logs of a deployment."""

    @access("deployments:read", level=Level.READ, resource="deployment")
    @blp.arguments(DeploymentLogQuery, location="query")
    @blp.raises(429)
    @blp.response(200, DeploymentLogs)
    @blp.doc(description=STREAM_DESCRIPTION, responses=STREAM_ANSWER)
    def get(self, query: dict[str, Any], name: str) -> dict[str, Any] | Response:
        """Read the last lines of a deployment's containers, or follow them."""
        if query["follow"]:
            return event_stream(service(LOGS).follow(name, log_query(query)))
        return {"name": name, "logs": service(LOGS).read(name, log_query(query))}


@blp.route("/<name>/stats")
class DeploymentStatsView(MethodView):
    """Statistics of a deployment."""

    @access("deployments:read", level=Level.READ, resource="deployment")
    @blp.response(200, DeploymentStats)
    def get(self, name: str) -> dict[str, Any]:
        """Show what a deployment's running containers use; sizes in bytes."""
        return asdict(service(STATISTICS).of(name))
