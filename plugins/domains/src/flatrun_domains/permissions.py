"""Permissions of this plugin's routes; other plugins register equal ones."""

from typing import Final

from flatrun_core.ports.auth import Permission

PERMISSIONS: Final = (
    Permission("certificates:read", "See certificates", ("operator", "viewer")),
    Permission("certificates:write", "Request and renew certificates", ("operator",)),
    Permission("certificates:delete", "Delete certificates"),
)
