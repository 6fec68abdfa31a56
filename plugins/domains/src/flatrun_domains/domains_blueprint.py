"""The routes of the domains of a deployment."""

from typing import Any

from flask.views import MethodView

from flatrun_core import Blueprint, Level, access, identity, record_facts, service
from flatrun_domains import requests
from flatrun_domains.schemas import (
    ChangedDomain,
    DomainConflict,
    DomainMessage,
    DomainResult,
    DomainsAnswer,
    NewDomain,
    ProxyRefusal,
    RoutedDeployment,
)
from flatrun_domains.service import SERVICE

CONFLICT = "The host and path are routed already (`DOMAIN_EXISTS`), or the deployment is busy or unreadable"
REFUSED = "The proxy refuses it (`PROXY_CONFIG_FAILED`); nothing has changed"

blp = Blueprint(
    "domains",
    __name__,
    url_prefix="/api/deployments",
    description="Under which names and paths a deployment is reached",
)


@blp.route("/<name>/domains")
class Domains(MethodView):
    """The domains of a deployment."""

    @access("deployments:read", level=Level.READ, resource="deployment")
    @blp.raises(409)
    @blp.response(200, DomainsAnswer)
    def get(self, name: str) -> dict[str, Any]:
        """List the domains of a deployment; its single domain of old has the id `default`."""
        return {"domains": [requests.shown(one) for one in service(SERVICE).list(name)]}

    @access("deployments:write", level=Level.WRITE, action="domains.create", resource="deployment")
    @blp.arguments(NewDomain)
    @blp.alt_response(409, schema=DomainConflict, description=CONFLICT)
    @blp.alt_response(500, schema=ProxyRefusal, description=REFUSED)
    @blp.response(201, DomainResult)
    def post(self, body: dict[str, Any], name: str) -> dict[str, Any]:
        """Add a domain, serve it, and get its certificate when one is wanted.

        That a certificate cannot be had is told in `proxy_result` and undoes nothing.
        """
        domain, result = service(SERVICE).add(name, body, identity())
        record_facts(domain=domain.id)
        return _done("Domain added successfully", domain, result)


@blp.route("/<name>/domains/<domain_id>")
class Domain(MethodView):
    """One domain of a deployment."""

    @access("deployments:write", level=Level.WRITE, action="domains.update", resource="deployment")
    @blp.arguments(ChangedDomain)
    @blp.alt_response(409, schema=DomainConflict, description=CONFLICT)
    @blp.alt_response(500, schema=ProxyRefusal, description=REFUSED)
    @blp.response(200, DomainResult)
    def put(self, body: dict[str, Any], name: str, domain_id: str) -> dict[str, Any]:
        """Change a domain; what is not sent stays as it is."""
        return _done(
            "Domain updated successfully", *service(SERVICE).update(name, domain_id, body, identity())
        )

    @access("deployments:write", level=Level.WRITE, action="domains.delete", resource="deployment")
    @blp.raises(409)
    @blp.alt_response(500, schema=ProxyRefusal, description=REFUSED)
    @blp.response(200, DomainMessage)
    def delete(self, name: str, domain_id: str) -> dict[str, str]:
        """Take a domain away; its certificate stays."""
        service(SERVICE).remove(name, domain_id, identity())
        return {"message": "Domain deleted successfully"}


@blp.route("/<name>/ssl/disable")
class DisableSsl(MethodView):
    """TLS of a deployment."""

    @access("deployments:write", level=Level.WRITE, action="domains.disable_ssl", resource="deployment")
    @blp.raises(409)
    @blp.alt_response(500, schema=ProxyRefusal, description=REFUSED)
    @blp.response(200, RoutedDeployment)
    def post(self, name: str) -> dict[str, str]:
        """Serve all domains of a deployment by plain HTTP; certificates stay."""
        service(SERVICE).disable_tls(name, identity())
        return {"message": "SSL disabled", "name": name}


def _done(message: str, domain: Any, result: Any) -> dict[str, Any]:
    return {"message": message, "domain": requests.shown(domain), "proxy_result": result}
