"""Names that no deployment and no host can have, because nginx's own files and servers have them."""

from typing import Final

from flatrun_core import Invalid
from flatrun_core.ports.deployments import Draft, Part
from flatrun_core.ports.proxy import PANEL, Site

# The server by which nginx tells which set it has; a name below .invalid is nobody's.
GENERATION: Final = "generation.flatrun.invalid"

_PREFIX: Final = "00-flatrun"
_NAMES: Final = frozenset({"nginx", "default", "rate_limits", "blocked_ips"})


def reserved(name: str) -> bool:
    """Whether a site of this name would take the place of a file of ours."""
    return name != PANEL and (name in _NAMES or name.startswith(_PREFIX))


def check_hosts(site: Site) -> None:
    """Refuse a site that has a name of nginx's own: ``Invalid`` ``SITE_INVALID``."""
    if any(GENERATION in (host.name, *host.aliases) for host in site.hosts):
        raise Invalid(f"The host '{GENERATION}' is kept for nginx itself", code="SITE_INVALID")


def refuse_reserved(draft: Draft) -> Part | None:
    """Refuse a new deployment of such a name: ``Invalid`` ``RESERVED_NAME``."""
    if reserved(draft.name) or draft.name == PANEL:
        raise Invalid(f"The name '{draft.name}' is kept for the panel itself", code="RESERVED_NAME")
    return None
