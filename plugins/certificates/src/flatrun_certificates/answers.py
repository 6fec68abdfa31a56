"""The certificate object of the API."""

from typing import Any

from flatrun_certificates import due
from flatrun_certificates.lineages import Lineage
from flatrun_certificates.paths import PLACES
from flatrun_certificates.remarks import remarks
from flatrun_certificates.service import CertificateService
from flatrun_certificates.state import Known
from flatrun_core import PluginContext
from flatrun_core.db import now
from flatrun_core.ports.certificates import Certificate


def certificate_object(
    ctx: PluginContext,
    service: CertificateService,
    lineage: Lineage,
    deployment: str | None,
    *,
    answers_tls: bool,
) -> dict[str, Any] | None:
    """What the API says of a lineage; None when nothing of it can be used. Empty members are left out.

    ``answers_tls`` is whether the proxy runs now: one that is stopped serves nothing.
    """
    certificate = service.store.certificate(lineage)
    if certificate is None:
        return None
    moment, state = now(), service.states.of(lineage.name)
    plan = service.plan(certificate, moment)
    known = {
        "domain": certificate.name,
        "issuer": certificate.issuer,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "days_left": due.days_left(certificate.not_after, moment),
        "status": due.status(certificate, moment, plan.due),
        "path": str(ctx.services.get(PLACES).folders().live / certificate.name / "cert.pem"),
        "auto_renew": certificate.auto_renew,
        "domains": list(certificate.domains),
        "renewal_at": plan.at,
    }
    optional = {
        "deployment_id": deployment,
        "last_error": state.last_error,
        "next_attempt_at": state.next_attempt_at,
        **(_served(certificate, state) if answers_tls else {}),
        "warnings": remarks(certificate, lineage, state, plan, service.settings, moment),
    }
    return known | {name: value for name, value in optional.items() if value or value is False}


def _served(certificate: Certificate, state: Known) -> dict[str, Any]:
    """What the last handshake showed, and when it was."""
    if state.served_fingerprint != certificate.fingerprint:
        return {}
    return {"served": not state.served_problem, "served_checked_at": state.served_checked_at}
