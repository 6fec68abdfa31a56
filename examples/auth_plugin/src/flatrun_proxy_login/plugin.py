"""Proxy login: who an authenticating proxy says it is, gets in; and nothing is deleted at night."""

from collections.abc import Sequence

from flatrun_core import HOOK_API, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.auth import PERMISSIONS, Access, Credentials, Identity
from flatrun_core.ports.settings import SettingsGroup
from flatrun_proxy_login.login import identify
from flatrun_proxy_login.night import NIGHT_REST, NightRest
from flatrun_proxy_login.settings import ProxyLoginSchema, ProxyLoginSettings

PLUGIN = PluginInfo(
    slug="proxy_login",
    hook_api=HOOK_API,
    display_name="Proxy login",
    type="integration",
    category="examples",
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer the rule of the night."""
    ctx.services.provide(NIGHT_REST, lambda: NightRest(lambda: ctx.settings(ProxyLoginSettings)))


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The group ``proxy_login``; whom the panel believes is no matter of the API."""
    return [SettingsGroup("proxy_login", ProxyLoginSchema, published=False)]


@hookimpl
def flatrun_authenticate(ctx: PluginContext, credentials: Credentials) -> Identity | None:
    """Believe the header of a configured proxy."""
    return identify(credentials, ctx.settings(ProxyLoginSettings), ctx.services.get(PERMISSIONS))


@hookimpl
def flatrun_authorize(ctx: PluginContext, access: Access, method: str) -> None:
    """Refuse deletions at night."""
    ctx.services.get(NIGHT_REST).check(access, method)
