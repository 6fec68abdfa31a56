"""What somebody has to know about a certificate, in sentences."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from flatrun_certificates.due import Plan
from flatrun_certificates.lineages import Lineage
from flatrun_certificates.settings import CertbotSettings
from flatrun_certificates.state import Known
from flatrun_core.ports.certificates import Certificate

_GRACE: Final = timedelta(hours=1)
_TIME: Final = "%Y-%m-%d %H:%M UTC"


def remarks(
    certificate: Certificate,
    lineage: Lineage,
    state: Known,
    plan: Plan,
    settings: CertbotSettings,
    moment: datetime,
) -> Sequence[str]:
    """The warnings, the gravest first; empty when all is well."""
    found = [
        _over(certificate, moment),
        plan.clock,
        _damage(lineage),
        overdue(certificate, state, plan, settings, moment),
        unserved(certificate, state),
        *state.warnings,
    ]
    return list(dict.fromkeys(one for one in found if one))


def overdue(
    certificate: Certificate, state: Known, plan: Plan, settings: CertbotSettings, moment: datetime
) -> str:
    """Why a certificate that is due was not renewed; empty while nothing is late."""
    if not plan.due:
        return ""
    since = f"It is due for renewal since {plan.at.strftime(_TIME)}"
    if state.failures:
        again = (
            f"; the next attempt is at {state.next_attempt_at.strftime(_TIME)}"
            if state.next_attempt_at
            else ""
        )
        times = "once" if state.failures == 1 else f"{state.failures} times in a row"
        return f"{since}, and renewal failed {times}{again}: {state.last_error}"
    if not settings.enabled:
        return f"{since}, and nothing renews it: certbot.enabled is off."
    if not certificate.auto_renew:
        return f"{since}, and nothing renews it: its automatic renewal is off."
    late = plan.at + 2 * settings.renewal_check_interval + _GRACE
    return f"{since} and was not renewed." if moment > late else ""


def unserved(certificate: Certificate, state: Known) -> str:
    """Why the running proxy does not serve it; empty when it does, or was not asked."""
    return state.served_problem if state.served_fingerprint == certificate.fingerprint else ""


def _over(certificate: Certificate, moment: datetime) -> str:
    if moment <= certificate.not_after:
        return ""
    return f"It is not valid any more since {certificate.not_after.strftime(_TIME)}: browsers refuse it."


def _damage(lineage: Lineage) -> str:
    if not lineage.problem:
        return ""
    return (
        f"Its newest files are damaged ({lineage.problem}), so an earlier version is used; renewing mends it."
    )
