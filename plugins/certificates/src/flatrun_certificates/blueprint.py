"""The routes of certificates."""

from typing import Any

from flask.views import MethodView

from flatrun_certificates.desk import DESK
from flatrun_certificates.names import lineage_in_path
from flatrun_certificates.schemas import (
    AutoRenewAnswer,
    AutoRenewSchema,
    CertificateDeletedAnswer,
    CertificateDeleteQuery,
    CertificateRequestAnswer,
    CertificateRequestSchema,
    CertificatesAnswer,
    DeploymentRenewalAnswer,
    OneCertificateAnswer,
    RenewalAnswer,
    RenewOneAnswer,
)
from flatrun_core import Blueprint, Level, access, identity, record_facts, service

blp = Blueprint("certificates", __name__, url_prefix="/api", description="TLS certificates")


# A certificate belongs to every deployment that one of its names is routed to, or to none and then to
# everybody who holds the permission. So these decide themselves, before a body is looked at.


def _readable(arguments: dict[str, Any]) -> str | None:
    return service(DESK).admit(identity(), lineage_in_path(arguments["domain"]), Level.READ)


def _writable(arguments: dict[str, Any]) -> str | None:
    return service(DESK).admit(identity(), lineage_in_path(arguments["domain"]), Level.WRITE)


@blp.route("/certificates")
class Certificates(MethodView):
    """All certificates."""

    @access("certificates:read", resource="certificate")
    @blp.raises(500)
    @blp.response(200, CertificatesAnswer)
    def get(self) -> dict[str, Any]:
        """List the certificates, by name; those of deployments you cannot read are left out."""
        return {"certificates": service(DESK).all(identity())}

    @access("certificates:write", action="certificates.request", resource="certificate")
    @blp.arguments(CertificateRequestSchema)
    @blp.raises(409, 429, 500, 503, 504)
    @blp.response(201, CertificateRequestAnswer)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the authority for a certificate, and serve it; one that is good already is kept.

        May take minutes. Asking again does not wait for the next attempt after a failure, unless the
        authority itself asked to wait.
        """
        record_facts(resource_id=body["domain"])
        return {
            "message": "Certificate requested",
            "result": service(DESK).request(identity(), body["domain"]),
        }


@blp.route("/certificates/renew")
class RenewDue(MethodView):
    """Everything that is due."""

    @access("certificates:write", action="certificates.renew", resource="certificate")
    @blp.raises(500, 503)
    @blp.response(200, RenewalAnswer)
    def post(self) -> dict[str, Any]:
        """Renew the certificates that are due or damaged, of deployments you can change; may take minutes.

        What is so damaged that nothing in it can be used is not listed, and had anew where an entry
        wants it; else it is among `failed_domains`, with what to do.
        """
        return {"message": "Renewal completed", "result": service(DESK).renew_due(identity())}


@blp.route("/certificates/<domain>")
class CertificateView(MethodView):
    """One certificate."""

    @access("certificates:read", deployment=_readable, resource="certificate")
    @blp.raises(400, 404, 500)
    @blp.response(200, OneCertificateAnswer)
    def get(self, domain: str) -> dict[str, Any]:
        """Show a certificate."""
        return {"certificate": service(DESK).one(identity(), lineage_in_path(domain))}

    @access("certificates:delete", deployment=_writable, action="certificates.delete", resource="certificate")
    @blp.arguments(CertificateDeleteQuery, location="query")
    @blp.raises(404, 409, 500)
    @blp.response(200, CertificateDeletedAnswer)
    def delete(self, query: dict[str, Any], domain: str) -> dict[str, Any]:
        """Delete a certificate; one that sites are served with only by force. It is not revoked."""
        name = lineage_in_path(domain)
        service(DESK).delete(identity(), name, query["force"])
        return {"message": "Certificate deleted", "domain": name}


@blp.route("/certificates/<domain>/renew")
class RenewOne(MethodView):
    """A new one of the same names."""

    @access(
        "certificates:write", deployment=_writable, action="certificates.renew_one", resource="certificate"
    )
    @blp.raises(400, 404, 500, 503)
    @blp.response(200, RenewOneAnswer)
    def post(self, domain: str) -> dict[str, Any]:
        """Renew a certificate at once, due or not; may take minutes."""
        name = lineage_in_path(domain)
        result = service(DESK).renew(identity(), name)
        return {"message": "Certificate renewed", "domain": name, "result": result}


@blp.route("/certificates/<domain>/auto-renew")
class AutoRenew(MethodView):
    """Whether it is renewed by itself."""

    @access(
        "certificates:write", deployment=_writable, action="certificates.auto_renew", resource="certificate"
    )
    @blp.arguments(AutoRenewSchema)
    @blp.raises(404, 409, 500)
    @blp.response(200, AutoRenewAnswer)
    def patch(self, body: dict[str, Any], domain: str) -> dict[str, Any]:
        """Let a certificate be renewed by itself, or not, whatever the setting says for the others."""
        name = lineage_in_path(domain)
        service(DESK).auto_renew(identity(), name, body["auto_renew"])
        return {"domain": name, "auto_renew": body["auto_renew"]}


@blp.route("/deployments/<name>/certificates/renew")
class RenewDeployment(MethodView):
    """New ones for a deployment."""

    @access(
        "certificates:write", level=Level.WRITE, action="certificates.renew_deployment", resource="deployment"
    )
    @blp.raises(400, 404, 500, 503)
    @blp.response(200, DeploymentRenewalAnswer)
    def post(self, name: str) -> dict[str, Any]:
        """Renew the certificates of a deployment at once, due or not; may take minutes."""
        result = service(DESK).renew_deployment(name)
        return {"message": "Renewal completed", "deployment": name, "result": result}
