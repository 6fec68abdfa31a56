"""The issuers of every plugin, and the one in use."""

from collections.abc import Callable, Mapping
from typing import Final

from flatrun_core import Invalid, PluginContext, ServiceKey, StartupError
from flatrun_core.ports.certificates import Issuer


def collect(ctx: PluginContext, own: Issuer) -> Mapping[str, Issuer]:
    """This plugin's issuer and those that others register; two of one name stop the start."""
    found: dict[str, Issuer] = {own.name: own}
    owners = {own.name: ctx.info.slug}
    for slug, issuer in ctx.hooks.register("flatrun_register_issuers"):
        if issuer.name in found:
            other = owners[issuer.name]
            raise StartupError(f"issuer '{issuer.name}' is offered by both '{other}' and '{slug}'")
        owners[issuer.name] = slug
        found[issuer.name] = issuer
    return found


class Issuers:
    """Answers the issuer of now; ``chosen`` is the setting."""

    def __init__(self, found: Mapping[str, Issuer], chosen: Callable[[], str]) -> None:
        self._found = found
        self._chosen = chosen

    def current(self) -> Issuer:
        """The issuer in use; 400 when the setting names none that is there."""
        name = self._chosen()
        issuer = self._found.get(name)
        if issuer is None:
            known = ", ".join(sorted(self._found))
            raise Invalid(f"certificates.issuer names '{name}', which is not there; there are: {known}")
        return issuer


ISSUERS: Final[ServiceKey[Issuers]] = ServiceKey("certificates.issuers", "certificates")
