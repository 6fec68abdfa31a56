"""Permissions of this plugin's routes, and the roles that hold them; admin always does."""

from typing import Final

from flatrun_core.ports.auth import Permission

PERMISSIONS: Final = (Permission("audit:read", "See and export the record of what was done"),)
