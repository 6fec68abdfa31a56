"""Deployments as the JSON of the API, straight from their dataclasses; tests hold the schemas to it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from flatrun_core import fields
from flatrun_core.ports.deployments import Created, Deployment, NewDeployment, Removed, RemoveOptions, Service
from flatrun_deployments import service_yml
from flatrun_deployments.discovery import Folder

OPTIONS = ("use_shared_database", "existing_database_container", "databases", "registry_credential")


def new_deployment(body: Mapping[str, Any]) -> NewDeployment:
    """A validated body as a request to the service; clients send an empty text for what they leave out."""
    return NewDeployment(
        name=body["name"],
        compose=body["compose"] or body["compose_content"] or None,
        template_id=body["template_id"] or None,
        port=body["port"],
        auto_start=body["auto_start"],
        metadata=body["metadata"],
        env={item["key"]: item["value"] for item in body["env_vars"] if item["key"]},
        options={key: body[key] for key in OPTIONS if body[key]},
    )


def remove_options(query: Mapping[str, bool]) -> RemoveOptions:
    """A validated query as options of a removal."""
    return RemoveOptions(
        files=query["remove_files"],
        volumes=query["remove_volumes"],
        certificates=query["delete_ssl"],
        vhost=query["delete_vhost"],
        databases=query["delete_database"],
    )


def items(deployments: Iterable[Deployment]) -> list[dict[str, Any]]:
    """The list of deployments."""
    return [
        {
            "name": found.name,
            "path": str(found.path),
            "status": found.status,
            "created_at": fields.format_time(found.created_at),
            "services": [{"name": s.name, "status": s.status, "health": s.health} for s in found.services],
        }
        for found in deployments
    ]


def details(deployment: Deployment, folder: Folder, proxy_status: Mapping[str, Any] | None) -> dict[str, Any]:
    """One deployment with its compose text."""
    readable = deployment.metadata is not None and not deployment.problem
    return {
        "deployment": {
            "name": deployment.name,
            "path": str(deployment.path),
            "status": deployment.status,
            "created_at": fields.format_time(deployment.created_at),
            "updated_at": fields.format_time(deployment.updated_at),
            "services": [_service(service) for service in deployment.services],
            "metadata": service_yml.public(deployment.metadata) if readable and deployment.metadata else None,
        },
        "compose_content": folder.compose.text,
        "compose_filename": folder.compose.path.name,
        "proxy_status": proxy_status,
    }


def created(result: Created) -> dict[str, Any]:
    """The outcome of a creation."""
    answer: dict[str, Any] = {
        "message": "Deployment created",
        "name": result.name,
        "auto_started": result.auto_started,
        "start_output": result.start_output,
        "start_error": result.start_error,
        "registry_login_error": result.registry_login_error,
        "proxy_result": result.proxy_result,
    }
    return answer | ({"warnings": list(result.warnings)} if result.warnings else {})


def removed(result: Removed) -> dict[str, Any]:
    """The outcome of a removal."""
    answer: dict[str, Any] = {
        "message": "Deployment deleted",
        "name": result.name,
        "files_removed": result.files_removed,
        "deleted_items": list(result.items),
    }
    return answer | ({"warnings": list(result.warnings)} if result.warnings else {})


def of_recipe(deployment: Deployment, credentials: Mapping[str, str]) -> dict[str, Any]:
    """A deployment that a recipe made."""
    metadata = deployment.metadata or {}
    return {
        "message": "Deployment created",
        "deployment": {
            "name": deployment.name,
            "path": str(deployment.path),
            "containers": [s.container_id for s in deployment.services if s.container_id],
            "urls": _urls(metadata),
            "credentials": dict(credentials),
        },
    }


def _service(service: Service) -> dict[str, Any]:
    return {
        "name": service.name,
        "status": service.status,
        "health": service.health,
        "container_id": service.container_id,
        "image": service.image,
        "ports": list(service.ports),
        "networks": list(service.networks),
        "created_at": _time(service.created_at),
    }


def _time(moment: datetime | None) -> str | None:
    return fields.format_time(moment) if moment is not None else None


def _urls(metadata: Mapping[str, Any]) -> list[str]:
    urls = []
    for entry in metadata.get("domains") or ():
        scheme = "https" if (entry.get("ssl") or {}).get("enabled") else "http"
        urls.append(f"{scheme}://{entry['domain']}{entry.get('path_prefix') or '/'}")
    return urls
