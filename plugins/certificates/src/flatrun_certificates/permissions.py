"""Permissions of this plugin's routes, and the roles that hold them; admin always does."""

from typing import Final

from flatrun_core.ports.auth import Permission

# The plugins users and domains register equal ones.
PERMISSIONS: Final = (
    Permission("certificates:read", "See certificates", ("operator", "viewer")),
    Permission("certificates:write", "Request and renew certificates", ("operator",)),
    Permission("certificates:delete", "Delete certificates"),
)
