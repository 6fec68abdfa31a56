"""Errors of deployments that more than one module raises, with their codes."""

from collections.abc import Sequence

from flatrun_core import Conflict, Invalid, NotFound


def deployment_not_found() -> NotFound:
    """404 ``DEPLOYMENT_NOT_FOUND``."""
    return NotFound("Deployment not found", code="DEPLOYMENT_NOT_FOUND")


def deployment_exists(name: str) -> Conflict:
    """409 ``DEPLOYMENT_EXISTS``."""
    return Conflict(f"A deployment called '{name}' exists already", code="DEPLOYMENT_EXISTS")


def port_in_use(port: int, by: str) -> Conflict:
    """409 ``PORT_IN_USE``; ``by`` says who has it."""
    return Conflict(f"Port {port} is already in use by {by}", code="PORT_IN_USE")


def project_in_use(project: str, others: Sequence[str]) -> Conflict:
    """409 ``PROJECT_IN_USE``; ``others`` are the folders that have the compose project."""
    return Conflict(f"The compose project '{project}' is that of {_folders(others)}", code="PROJECT_IN_USE")


def project_shared(project: str, others: Sequence[str]) -> Conflict:
    """409 ``PROJECT_IN_USE``: what is done to one folder would be done to the ``others``' containers."""
    return Conflict(
        f"The compose project '{project}' is also that of {_folders(others)}; give one of them another name",
        code="PROJECT_IN_USE",
    )


def plugin_required(plugin: str, wish: str) -> Invalid:
    """400 ``PLUGIN_REQUIRED``: the request asks for something a plugin does that is not active."""
    return Invalid(f"{wish} needs the plugin '{plugin}', which is not active", code="PLUGIN_REQUIRED")


def _folders(names: Sequence[str]) -> str:
    return " and ".join(f"the folder '{name}'" for name in names)
