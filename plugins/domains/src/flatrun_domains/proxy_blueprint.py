"""The routes of the proxy."""

from typing import Any

from flask.views import MethodView

from flatrun_core import Blueprint, Level, access, identity, service
from flatrun_core.ports.deployments import ROUTES
from flatrun_domains.proxying import PROXYING
from flatrun_domains.schemas import DomainConflict, ProxyRefusal, ProxySetupBody, RoutedDeployment
from flatrun_domains.service import SERVICE
from flatrun_domains.status_schemas import (
    ProxySetupAnswer,
    ProxyStatusAnswer,
    ProxySyncAnswer,
    SubdomainAnswer,
    VirtualHostsAnswer,
)

blp = Blueprint("proxy", __name__, url_prefix="/api/proxy", description="What the reverse proxy serves")
subdomain_blp = Blueprint(
    "subdomains", __name__, url_prefix="/api/subdomain", description="Names for deployments that have none"
)


@blp.route("/status/<name>")
class Status(MethodView):
    """The state of one deployment's routes."""

    @access("certificates:read", level=Level.READ, resource="proxy")
    @blp.response(200, ProxyStatusAnswer)
    def get(self, name: str) -> dict[str, Any]:
        """Show what is served for a deployment, with its certificates."""
        return {"status": service(ROUTES).status(name)}


@blp.route("/setup/<name>")
class Setup(MethodView):
    """Serving one deployment."""

    @access("certificates:write", level=Level.WRITE, action="proxy.setup", resource="proxy")
    @blp.arguments(ProxySetupBody)
    @blp.alt_response(409, schema=DomainConflict, description="The host and path are routed already")
    @blp.alt_response(500, schema=ProxyRefusal, description="The proxy refuses it; nothing has changed")
    @blp.response(200, ProxySetupAnswer)
    def post(self, body: dict[str, Any], name: str) -> dict[str, Any]:
        """Expose a deployment under its stored domains, or under the one that is sent.

        That a certificate cannot be had is told in `result.ssl_error`; the site is served by plain HTTP.
        """
        return {
            "message": "Proxy setup completed",
            "result": service(SERVICE).setup(name, body, identity()),
        }


@blp.route("/<name>")
class Removal(MethodView):
    """Serving one deployment no more."""

    @access("certificates:delete", level=Level.WRITE, action="proxy.remove", resource="proxy")
    @blp.raises(409)
    @blp.response(200, RoutedDeployment)
    def delete(self, name: str) -> dict[str, str]:
        """Serve a deployment no more; its domains and certificates stay for another setup."""
        service(SERVICE).withdraw(name, identity())
        return {"message": "Proxy removed", "name": name}


@blp.route("/vhosts")
class VirtualHosts(MethodView):
    """Every site."""

    @access("certificates:read", resource="proxy")
    @blp.response(200, VirtualHostsAnswer)
    def get(self) -> dict[str, Any]:
        """List the sites of deployments you may read, and what is left out and why."""
        return service(PROXYING).everything(identity())


@blp.route("/sync")
class Sync(MethodView):
    """Everything once more."""

    @access("certificates:write", action="proxy.sync", resource="proxy")
    @blp.raises(500)
    @blp.response(200, ProxySyncAnswer)
    def post(self) -> dict[str, Any]:
        """Apply every site as its files say now, as the panel does by itself every half minute."""
        return service(PROXYING).sync(identity())


@subdomain_blp.route("/generate")
class Subdomain(MethodView):
    """A name for a deployment."""

    @access("deployments:read", resource="deployment")
    @subdomain_blp.response(200, SubdomainAnswer)
    def get(self) -> dict[str, Any]:
        """Make up a subdomain of the default domain that nobody has."""
        return service(PROXYING).subdomain()
