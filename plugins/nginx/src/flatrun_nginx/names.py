"""Names that no deployment can have, because files and folders of nginx have them."""

from typing import Final

from flatrun_core import Invalid
from flatrun_core.ports.deployments import Draft, Part
from flatrun_core.ports.proxy import PANEL

_PREFIX: Final = "00-flatrun"
_NAMES: Final = frozenset({"nginx", "default", "rate_limits", "blocked_ips"})


def reserved(name: str) -> bool:
    """Whether a site of this name would take the place of a file of ours."""
    return name != PANEL and (name in _NAMES or name.startswith(_PREFIX))


def refuse_reserved(draft: Draft) -> Part | None:
    """Refuse a new deployment of such a name: ``Invalid`` ``RESERVED_NAME``."""
    if reserved(draft.name) or draft.name == PANEL:
        raise Invalid(f"The name '{draft.name}' is kept for the panel itself", code="RESERVED_NAME")
    return None
