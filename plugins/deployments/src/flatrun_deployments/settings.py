"""The settings groups of this plugin."""

from dataclasses import dataclass
from typing import ClassVar, Final

from flatrun_core import SettingsSchema, fields
from flatrun_core.ports.settings import SettingsGroup


@dataclass(frozen=True, slots=True)
class DeploymentsSettings:
    """How deployments run."""

    runtime: str = "compose"


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Names of the networks that deployments share with the panel's own services."""

    default_proxy_network: str = "proxy"
    default_database_network: str = "database"


class DeploymentsSettingsSchema(SettingsSchema):
    """The group ``deployments``."""

    dataclass: ClassVar[type] = DeploymentsSettings

    runtime = fields.String(
        load_default="compose", metadata={"description": "Runtime of deployments; plugins may offer others"}
    )


class NetworkSettingsSchema(SettingsSchema):
    """The group ``infrastructure``, as far as networks go."""

    dataclass: ClassVar[type] = NetworkSettings

    default_proxy_network = fields.ContainerName(
        load_default="proxy",
        metadata={"description": "Docker network that the reverse proxy reaches deployments on"},
    )
    default_database_network = fields.ContainerName(
        load_default="database",
        metadata={"description": "Docker network that shared databases are reached on"},
    )


GROUPS: Final = (
    SettingsGroup("deployments", DeploymentsSettingsSchema, published=False),
    SettingsGroup("infrastructure", NetworkSettingsSchema),
)
