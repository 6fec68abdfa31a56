"""The services of this plugin and what each is built from, and its commands."""

from collections.abc import Sequence

from flatrun_certificates.background import BACKGROUND, Background
from flatrun_certificates.certbot import CertbotIssuer
from flatrun_certificates.desk import DESK, Desk
from flatrun_certificates.issuance import ISSUANCE, STORE, Issuance
from flatrun_certificates.issuers import ISSUERS, Issuers, collect
from flatrun_certificates.paths import PLACES, Places
from flatrun_certificates.renewal import RENEWALS, SERVICE, Renewals
from flatrun_certificates.service import CertificateService
from flatrun_certificates.settings import CertbotSettings, CertificatesSettings
from flatrun_certificates.state import STATES, States
from flatrun_certificates.store import Store
from flatrun_certificates.trust import TRUST, Trust
from flatrun_core import PluginContext
from flatrun_core.db import now
from flatrun_core.ports.certificates import CERTIFICATES, DNS_RECORDS
from flatrun_core.ports.programs import PROGRAMS
from flatrun_core.ports.settings import SettingsChange
from flatrun_core.ports.storage import DATABASE


def offer_all(ctx: PluginContext) -> None:
    """Every service of this plugin."""
    get, provide = ctx.services.get, ctx.services.provide
    provide(PLACES, lambda: Places(ctx))
    provide(
        STORE,
        lambda: Store(get(PLACES).folders, lambda: ctx.settings(CertbotSettings).auto_renewal_enabled, now),
    )
    provide(TRUST, Trust)
    provide(STATES, lambda: States(get(DATABASE)))
    provide(ISSUERS, lambda: _issuers(ctx))
    provide(ISSUANCE, lambda: Issuance(ctx))
    provide(SERVICE, lambda: CertificateService(ctx))
    provide(CERTIFICATES, lambda: get(SERVICE))
    provide(RENEWALS, lambda: Renewals(ctx))
    provide(BACKGROUND, lambda: Background(ctx))
    provide(DESK, lambda: Desk(ctx))


def take_effect(ctx: PluginContext, change: SettingsChange) -> None:
    """Use what was changed, or raise ``Invalid``."""
    ctx.services.get(TRUST).check(change)
    ctx.services.get(PLACES).forget()


def commands() -> Sequence[object]:
    """``flatrun certificates``; only the command line pays for loading it."""
    from flatrun_certificates.commands import certificates  # noqa: PLC0415

    return [certificates]


def _issuers(ctx: PluginContext) -> Issuers:
    certbot = CertbotIssuer(
        lambda: ctx.services.get(PROGRAMS),
        lambda: ctx.services.get(PLACES).folders(),
        lambda: ctx.settings(CertbotSettings),
        lambda: ctx.services.find(DNS_RECORDS),
    )
    return Issuers(collect(ctx, certbot), lambda: ctx.settings(CertificatesSettings).issuer)
