"""Permissions of this plugin's routes, and the roles that hold them; admin always does."""

from typing import Final

from flatrun_core.ports.auth import Permission

PERMISSIONS: Final = (
    Permission("deployments:read", "See deployments", ("operator", "viewer")),
    Permission("deployments:write", "Create, start, stop and change deployments", ("operator",)),
    # A part of deployments:write, for machines that do nothing else.
    Permission("deployments:restart", "Restart deployments, and nothing more", ("operator",)),
    Permission("deployments:delete", "Delete deployments"),
    Permission("containers:read", "See containers", ("operator", "viewer")),
    Permission("containers:write", "Start, stop and restart containers", ("operator",)),
    Permission("containers:delete", "Delete containers"),
    # The templates plugin has an equal one; recipes need it also without that plugin.
    Permission("templates:write", "Refresh templates, and create deployments by a plugin's recipe"),
)
