"""Errors that more than one module raises, with their codes."""

from flatrun_core import Conflict, Invalid, Level, NotFound
from flatrun_core.ports.auth import Identity


def domain_not_found() -> NotFound:
    """404 ``DOMAIN_NOT_FOUND``."""
    return NotFound("Domain not found", code="DOMAIN_NOT_FOUND")


def deployment_not_found() -> NotFound:
    """404 ``DEPLOYMENT_NOT_FOUND``."""
    return NotFound("Deployment not found", code="DEPLOYMENT_NOT_FOUND")


def domain_exists(where: str, deployment: str, asker: Identity) -> Conflict:
    """409 ``DOMAIN_EXISTS``; which deployment it is only who may read it learns."""
    if asker.can(Level.READ, deployment):
        text = f"{where} is already routed to the deployment '{deployment}'"
        return Conflict(text, code="DOMAIN_EXISTS", deployment=deployment)
    return Conflict(f"{where} is already routed to another deployment", code="DOMAIN_EXISTS")


def host_not_shared(host: str) -> Conflict:
    """409 ``DOMAIN_EXISTS``: of a host that other deployments have, only who may change them has a part."""
    return Conflict(f"{host} belongs to another deployment, which you may not change", code="DOMAIN_EXISTS")


def panel_domain(host: str) -> Conflict:
    """409 ``DOMAIN_EXISTS``: the host is the panel's."""
    return Conflict(f"{host} is the panel's own domain", code="DOMAIN_EXISTS")


def unreadable(name: str, problem: str) -> Conflict:
    """409 ``METADATA_UNREADABLE``."""
    return Conflict(
        f"The domains of '{name}' cannot be read, and what is served stays: {problem}",
        code="METADATA_UNREADABLE",
    )


def reserved(name: str) -> Invalid:
    """400 ``RESERVED_NAME``: the deployment's name is that of a file of the proxy's own."""
    return Invalid(
        f"No deployment called '{name}' can be created or have domains; the proxy keeps the name for itself",
        code="RESERVED_NAME",
    )


def service_not_found(service: str) -> Invalid:
    """400 ``SERVICE_NOT_FOUND``."""
    return Invalid(f"The compose file has no service '{service[:60]}'", code="SERVICE_NOT_FOUND")


def panel_domain_taken(host: str, owner: str) -> Conflict:
    """409 ``DOMAIN_EXISTS``: a deployment has the host that the panel is to have."""
    return Conflict(f"{host} is routed to the deployment '{owner}'", code="DOMAIN_EXISTS", deployment=owner)
