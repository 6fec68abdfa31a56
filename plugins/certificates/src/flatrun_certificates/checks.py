"""What ``flatrun doctor`` looks at: certificates that are late, damaged or not served."""

from collections.abc import Sequence
from typing import Final

from flatrun_certificates.remarks import remarks
from flatrun_certificates.renewal import SERVICE
from flatrun_certificates.settings import CertbotSettings
from flatrun_certificates.trust import problem
from flatrun_core import Check, Finding, PluginContext
from flatrun_core.db import now
from flatrun_core.ports.certificates import DNS_RECORDS

_SHOWN: Final = 3
_REMEDY: Final = (
    "`flatrun certificates list` shows each; `flatrun certificates renew NAME` tries again "
    "and says why it fails"
)


def checks(ctx: PluginContext) -> Sequence[Check]:
    """One, which reads files and the state and asks nobody."""
    return [Check("certificates", "Certificates", lambda: certificates(ctx))]


def certificates(ctx: PluginContext) -> Finding:
    """Whether every certificate is sound, in time and served, and every one that was asked for was had."""
    service, moment = ctx.services.get(SERVICE), now()
    problems, over, names = _of_settings(ctx, service.settings), False, set()
    for lineage in service.store.lineages():
        names.add(lineage.name)
        certificate = service.store.certificate(lineage)
        if certificate is None:
            problems.append(f"{lineage.name}: nothing in it can be used ({lineage.problem})")
            continue
        over = over or moment > certificate.not_after
        found = remarks(
            certificate,
            lineage,
            service.states.of(lineage.name),
            service.plan(certificate, moment),
            service.settings,
            moment,
        )
        problems += [f"{lineage.name}: {text}" for text in found[:1]]
    states = service.states.all()
    problems += [
        f"{name}: could not be had: {states[name].last_error}"
        for name in sorted(service.wanted().keys() - names)
        if name in states and states[name].failures
    ]
    if not problems:
        return Finding("ok", f"{len(names)} certificates" if len(names) != 1 else "1 certificate")
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    text = "; ".join(problems[:_SHOWN]) + more
    return Finding("error" if over else "warning", text, _REMEDY)


def _of_settings(ctx: PluginContext, settings: CertbotSettings) -> list[str]:
    """What is set and cannot work."""
    found = [problem(settings.ca_file)] if settings.ca_file else []
    if settings.dns_provider and ctx.services.find(DNS_RECORDS) is None:
        text = "names '{}', and no active plugin can change DNS records: names are proven by HTTP"
        found.append(f"certbot.dns_provider {text.format(settings.dns_provider)}")
    return [one for one in found if one]
