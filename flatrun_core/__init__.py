"""The names plugin authors import; everything else of the core is its own business."""

import importlib
from typing import TYPE_CHECKING, Any

from flatrun_core.access import access, authenticated, internal, public
from flatrun_core.checks import Check, Finding
from flatrun_core.errors import (
    Conflict,
    DockerUnavailable,
    Failed,
    FlatrunError,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    StartupError,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UpstreamFailed,
)
from flatrun_core.markers import HOOK_API, hookimpl, hookspec
from flatrun_core.ports.auth import Level
from flatrun_core.services import ServiceKey

if TYPE_CHECKING:
    from flatrun_core import fields
    from flatrun_core.api.blueprint import Blueprint
    from flatrun_core.api.streams import ServerEvent, event_stream
    from flatrun_core.context import (
        PluginContext,
        PluginInfo,
        client_ip,
        identify,
        identity,
        record_facts,
        service,
    )
    from flatrun_core.fields import InputSchema, SettingsSchema
    from flatrun_core.hooks import JoinFailed
    from flatrun_core.settings import AuthSettings, PanelSettings

__version__ = "0.1.0"

__all__ = [
    "HOOK_API",
    "AuthSettings",
    "Blueprint",
    "Check",
    "Conflict",
    "DockerUnavailable",
    "Failed",
    "Finding",
    "FlatrunError",
    "Forbidden",
    "InputSchema",
    "Invalid",
    "JoinFailed",
    "Level",
    "NotFound",
    "PanelSettings",
    "PluginContext",
    "PluginInfo",
    "RateLimited",
    "ServerEvent",
    "ServiceKey",
    "SettingsSchema",
    "StartupError",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UpstreamFailed",
    "__version__",
    "access",
    "authenticated",
    "client_ip",
    "event_stream",
    "fields",
    "hookimpl",
    "hookspec",
    "identify",
    "identity",
    "internal",
    "public",
    "record_facts",
    "service",
]

# Imported at their first use: Flask and what stands on it take longer to load than `flatrun` may
# take to start.
_LATER = {
    "AuthSettings": "settings",
    "Blueprint": "api.blueprint",
    "InputSchema": "fields",
    "JoinFailed": "hooks",
    "PanelSettings": "settings",
    "PluginContext": "context",
    "PluginInfo": "context",
    "ServerEvent": "api.streams",
    "SettingsSchema": "fields",
    "client_ip": "context",
    "event_stream": "api.streams",
    "identify": "context",
    "identity": "context",
    "record_facts": "context",
    "service": "context",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'flatrun_core' has no attribute '{name}'")
    return getattr(importlib.import_module(f"flatrun_core.{_LATER[name]}"), name)
