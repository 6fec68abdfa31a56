"""Hooks of the life of a deployment, owned by this plugin.

Implement them with ``@hookimpl(optionalhook=True)`` from ``flatrun_core``; the types are in
``flatrun_core.ports.deployments``. ``ctx`` is the implementing plugin's own context; an implementation
may leave out any argument.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flatrun_core import hookspec

if TYPE_CHECKING:
    from flatrun_core.context import PluginContext
    from flatrun_core.ports.deployments import (
        DeploymentEvent,
        Draft,
        Part,
        Recipe,
        Removal,
        RemovedItem,
        Runtime,
    )


@hookspec
def flatrun_join_deployment_create(ctx: "PluginContext", draft: "Draft") -> "Part | None":
    """Add a plugin's part to a deployment that is being created, or refuse it by raising.

    Called under the deployment's lock, after every check of the request and before the deployment
    exists for anybody else. Whoever keeps something under a deployment's name drops it here, so
    that a namesake inherits nothing; whoever keeps the name for itself refuses it with ``Invalid``
    ``RESERVED_NAME``. A failure takes back, in reverse, the parts that were given (``Part.undo``)
    and refuses the creation with that error.
    """


@hookspec
def flatrun_join_deployment_remove(ctx: "PluginContext", removal: "Removal") -> "Sequence[RemovedItem]":
    """Remove what a plugin keeps for a deployment, and name what went.

    Called under the deployment's lock when its containers are gone and its folder still stands.
    A failure becomes a warning in the answer and the others still run.
    """


@hookspec
def flatrun_on_deployment_created(ctx: "PluginContext", event: "DeploymentEvent") -> None:
    """A deployment was created; it may not be running."""


@hookspec
def flatrun_on_deployment_changed(ctx: "PluginContext", event: "DeploymentEvent") -> None:
    """A deployment's ``service.yml`` was changed through the panel."""


@hookspec
def flatrun_on_deployment_started(ctx: "PluginContext", event: "DeploymentEvent") -> None:
    """A deployment was started or restarted."""


@hookspec
def flatrun_on_deployment_stopped(ctx: "PluginContext", event: "DeploymentEvent") -> None:
    """A deployment was stopped."""


@hookspec
def flatrun_on_deployment_removed(ctx: "PluginContext", event: "DeploymentEvent") -> None:
    """A deployment was removed, with or without its files."""


@hookspec
def flatrun_register_runtimes(ctx: "PluginContext") -> "Sequence[Runtime]":
    """Ways to run a deployment; ``deployments.runtime`` names the one in use."""


@hookspec
def flatrun_register_recipes(ctx: "PluginContext") -> "Sequence[Recipe]":
    """How ``POST /api/plugins/<slug>/deployments`` makes a deployment; its name is the slug."""
