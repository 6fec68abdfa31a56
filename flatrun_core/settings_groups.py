"""The core's own groups of settings, and the places of GET's top-level names in the file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from flatrun_core.fields import (
    AbsolutePath,
    AddressOrNetwork,
    Boolean,
    Integer,
    List,
    Port,
    Range,
    Secret,
    SettingsSchema,
    String,
)
from flatrun_core.ports.settings import SettingsGroup


@dataclass(frozen=True, slots=True)
class PanelSettings:
    """The keys at the top of the file."""

    deployments_path: Path = Path("/var/flatrun/deployments")
    database: str = field(default="", repr=False)


class PanelSchema(SettingsSchema):
    """The keys at the top of the file."""

    dataclass = PanelSettings
    deployments_path = AbsolutePath(metadata={"description": "Folder that holds the deployments."})
    database = Secret(
        metadata={"description": "URL of the panel's database; empty: SQLite beside the sites."}
    )


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How the panel listens and whom it answers."""

    host: str = "0.0.0.0"  # noqa: S104 - the documented default; every route needs a credential
    port: int = 8090
    enable_cors: bool = False
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    public_docs: bool = True
    max_streams: int = 128
    threads: int = 16


class ApiSchema(SettingsSchema):
    """How the panel listens and whom it answers."""

    dataclass = ApiSettings
    host = String(metadata={"description": "Address to listen on."})
    port = Port(metadata={"description": "Port to listen on."})
    enable_cors = Boolean(metadata={"description": "Answer pages of other origins."})
    allowed_origins = List(String(), metadata={"description": "Origins answered, compared exactly."})
    trusted_proxies = List(
        AddressOrNetwork(),
        metadata={"description": "Addresses and networks whose forwarded headers are believed."},
    )
    public_docs = Boolean(metadata={"description": "Show the API's document and page without a credential."})
    max_streams = Integer(
        validate=Range(1, 10_000), metadata={"description": "Streams (logs, events) served at once."}
    )
    threads = Integer(
        validate=Range(1, 1_000), metadata={"description": "Threads that answer requests, streams aside."}
    )


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Who gets in without the users plugin."""

    enabled: bool = True
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    secret_key: str = field(default="", repr=False)


SHORTEST_SECRET: Final = 16  # characters


class AuthSchema(SettingsSchema):
    """Who gets in without the users plugin."""

    dataclass = AuthSettings
    enabled = Boolean(metadata={"description": "Ask for a credential; without, everybody is admin."})
    api_keys = List(
        Secret(shortest=SHORTEST_SECRET),
        load_only=True,
        metadata={"description": "Keys that act as admin, for the first steps; 16 characters or more."},
    )
    secret_key = Secret(
        shortest=SHORTEST_SECRET,
        metadata={
            "description": "Signs tokens, 16 characters or more; empty for a generated one, kept in a file."
        },
    )


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """Which plugins are loaded."""

    disabled: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


class PluginsSchema(SettingsSchema):
    """Which plugins are loaded."""

    dataclass = PluginSettings
    disabled = List(String(), metadata={"description": "Plugins that are not loaded."})
    only = List(  # type: ignore[assignment] # the schema's own "only" is set by its constructor
        String(), metadata={"description": "If any: the only plugins that are loaded."}
    )
    required = List(String(), metadata={"description": "Plugins without which the panel does not start."})


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Which reverse proxy serves the sites."""

    backend: str = ""


class ProxySchema(SettingsSchema):
    """Which reverse proxy serves the sites."""

    dataclass = ProxySettings
    backend = String(
        metadata={
            "description": "Name of the proxy to use, from the next start; needed when there are several."
        }
    )


CORE_GROUPS: Final[tuple[SettingsGroup, ...]] = (
    SettingsGroup("", PanelSchema, published=False, read_only=frozenset({"deployments_path", "database"})),
    SettingsGroup(
        "api", ApiSchema, published=False, read_only=frozenset({"host", "port", "max_streams", "threads"})
    ),
    SettingsGroup("auth", AuthSchema, published=False, read_only=frozenset({"enabled", "secret_key"})),
    SettingsGroup(
        "plugins", PluginsSchema, published=False, read_only=frozenset({"disabled", "only", "required"})
    ),
    SettingsGroup("proxy", ProxySchema, published=False, read_only=frozenset({"backend"})),
)

# In GET and PUT these stand at the top, in the file in the group named here.
TOP_LEVEL: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "deployments_path": ("", "deployments_path"),
        "api_port": ("api", "port"),
        "enable_cors": ("api", "enable_cors"),
        "allowed_origins": ("api", "allowed_origins"),
        "trusted_proxies": ("api", "trusted_proxies"),
    }
)
