"""Every permission of the panel's own resources, and the roles that hold it; admin always does.

Registered here whatever other plugins are active, so that a list given to a user or a key stays
valid when a plugin comes or goes. A plugin's own registration of the same name must have the same
roles.
"""

from typing import Final

from flatrun_core.ports.auth import Permission

_ALL: Final = ("operator", "viewer")
_OPERATOR: Final = ("operator",)

PERMISSIONS: Final = (
    Permission("apikeys:read", "See API keys", _ALL),
    Permission("apikeys:write", "Create API keys", _OPERATOR),
    Permission("apikeys:delete", "Revoke and delete API keys", _OPERATOR),
    Permission("audit:read", "See and export the audit"),
    Permission("backups:read", "See backups", _ALL),
    Permission("backups:write", "Create and restore backups", _OPERATOR),
    Permission("backups:delete", "Delete backups"),
    Permission("certificates:read", "See certificates", _ALL),
    Permission("certificates:write", "Request and renew certificates", _OPERATOR),
    Permission("certificates:delete", "Delete certificates"),
    Permission("cluster:read", "See the cluster"),
    Permission("cluster:write", "Change the cluster"),
    Permission("containers:read", "See containers, their logs and their use", _ALL),
    Permission("containers:write", "Start, stop and restart containers", _OPERATOR),
    Permission("containers:delete", "Remove containers"),
    Permission("databases:read", "See databases", _ALL),
    Permission("databases:write", "Create databases and users, and query them", _OPERATOR),
    Permission("databases:delete", "Delete databases and their users"),
    Permission("deployments:read", "See deployments, their logs and their use", _ALL),
    Permission("deployments:write", "Create, change, start and stop deployments", _OPERATOR),
    Permission("deployments:delete", "Remove deployments"),
    Permission("dns:read", "See zones and records", _ALL),
    Permission("dns:write", "Change zones and records", _OPERATOR),
    Permission("images:read", "See images", _ALL),
    Permission("images:write", "Pull images", _OPERATOR),
    Permission("images:delete", "Delete images"),
    Permission("infrastructure:read", "See infrastructure services", _ALL),
    Permission("infrastructure:write", "Start and stop infrastructure services", _OPERATOR),
    Permission("networks:read", "See networks", _ALL),
    Permission("networks:write", "Create and change networks"),
    Permission("networks:delete", "Delete networks"),
    Permission("registries:read", "See registries and credentials", _ALL),
    Permission("registries:write", "Create and change registries and credentials", _OPERATOR),
    Permission("registries:delete", "Delete registries and credentials"),
    Permission("scheduler:read", "See scheduled tasks", _ALL),
    Permission("scheduler:write", "Create, change and run scheduled tasks", _OPERATOR),
    Permission("scheduler:delete", "Delete scheduled tasks"),
    Permission("security:read", "See security events and blocks", _ALL),
    Permission("security:write", "Block addresses and change protection"),
    Permission("settings:read", "See the panel's settings", _ALL),
    Permission("settings:write", "Change the panel's settings"),
    Permission("system:read", "See the host's system", _ALL),
    Permission("system:write", "Act on the host's system", _OPERATOR),
    Permission("templates:read", "See templates and plugins", _ALL),
    Permission("templates:write", "Refresh templates, and create deployments by a plugin's recipe"),
    Permission("traffic:read", "See traffic", _ALL),
    Permission("traffic:write", "Delete traffic records"),
    Permission("users:read", "See users and their access"),
    Permission("users:write", "Create and change users and their access"),
    Permission("users:delete", "Delete users"),
    Permission("volumes:read", "See volumes", _ALL),
    Permission("volumes:write", "Create volumes", _OPERATOR),
    Permission("volumes:delete", "Delete volumes"),
)
PREFIXES: Final = tuple(sorted({permission.name.partition(":")[0] for permission in PERMISSIONS}))
