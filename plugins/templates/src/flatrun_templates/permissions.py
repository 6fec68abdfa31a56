"""Permissions of this plugin's routes, and the roles that hold them; admin always does."""

from typing import Final

from flatrun_core.ports.auth import Permission

# The core and the deployments plugin have equal ones for routes of theirs that show or use templates.
PERMISSIONS: Final = (
    Permission("templates:read", "See templates and plugins", ("operator", "viewer")),
    Permission("templates:write", "Refresh templates, and create deployments by a plugin's recipe"),
)
