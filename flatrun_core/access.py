"""What each view method requires, declared beside it and enforced by the core before anything else."""

from collections.abc import Callable
from typing import Any, TypeVar

from flatrun_core.ports.auth import Access, Level

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "__flatrun_access__"


def access(
    *permissions: str,
    any_of: bool = False,
    level: Level | None = None,
    deployment: Callable[[dict[str, Any]], str | None] | None = None,
    action: str = "",
    resource: str = "",
    secret: bool = False,
) -> Callable[[F], F]:
    """Require permissions, and with ``level`` access to a deployment.

    The deployment is the route's ``name``, or what ``deployment`` answers for the view's arguments
    when an object with an id of its own belongs to one (None: to no deployment, which only
    identities without a scope may touch). ``action`` and ``resource`` name the request in the
    record; ``secret`` marks a read that is recorded too.
    """
    if not permissions:
        raise ValueError("access() needs a permission; use @authenticated, @internal or @public instead")
    return _declare(
        Access(
            kind="permission",
            permissions=permissions,
            any_of=any_of,
            level=level,
            deployment=deployment,
            action=action,
            resource=resource,
            secret=secret,
        )
    )


def authenticated(*, action: str = "", resource: str = "") -> Callable[[F], F]:
    """Any identity may call this; the view looks after its own account only."""
    return _declare(Access(kind="authenticated", action=action, resource=resource))


def internal(view: F) -> F:
    """Only the proxy backend may call this, with its token; neither recorded nor published."""
    return _declare(Access(kind="internal"))(view)


def public(*, action: str = "", resource: str = "") -> Callable[[F], F]:
    """Anybody may call this, with or without a credential."""
    return _declare(Access(kind="public", action=action, resource=resource))


def declared(view: Callable[..., Any] | None) -> Access | None:
    """The declaration of a view method, or None."""
    found: Access | None = getattr(view, ATTRIBUTE, None)
    return found


def _declare(rule: Access) -> Callable[[F], F]:
    def mark(view: F) -> F:
        setattr(view, ATTRIBUTE, rule)
        return view

    return mark
