"""Deployments as every plugin sees them, and how another plugin takes part in their life."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from flatrun_core.ports.auth import Identity
from flatrun_core.ports.docker import Project
from flatrun_core.services import ServiceKey


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a compose file joined with its containers' worst state."""

    name: str
    status: str
    health: str
    container_id: str | None = None
    image: str = ""
    ports: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    created_at: datetime | None = None
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class Deployment:
    """A folder with a compose file and what runs of it.

    ``status`` is running, stopped, error or unknown. ``metadata`` is ``service.yml`` in canonical
    spelling, every documented key present; None when it cannot be read, with ``problem`` saying why.
    ``project`` is empty as long as another folder has the same compose project.
    """

    name: str
    path: Path
    status: str
    created_at: datetime
    updated_at: datetime
    services: tuple[Service, ...]
    metadata: Mapping[str, Any] | None
    project: str
    compose_file: Path
    primary_service: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NewDeployment:
    """What a creation asks for, validated by shape; see contract section 8.5."""

    name: str
    compose: str | None = None
    template_id: str | None = None
    port: int | None = None
    auto_start: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Created:
    """The outcome of a creation; texts tell what failed after the files stood."""

    name: str
    auto_started: bool
    start_output: str = ""
    start_error: str = ""
    registry_login_error: str = ""
    proxy_result: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    credentials: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """A deployment being created: its folder exists, nothing runs yet.

    ``compose`` is the parsed document and is not to be changed; ``identity`` is who asked.
    """

    name: str
    directory: Path
    compose: Mapping[str, Any]
    metadata: Mapping[str, Any]
    request: NewDeployment
    identity: Identity


@dataclass(frozen=True, slots=True)
class Part:
    """What one plugin adds to a creation, and how to take it back."""

    env: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    undo: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class RemoveOptions:
    """What a removal takes along; see contract section 8.9."""

    files: bool = False
    volumes: bool = False
    certificates: bool = True
    vhost: bool = True
    databases: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """A deployment being removed: its containers are gone, its folder still stands."""

    deployment: Deployment
    options: RemoveOptions
    identity: Identity


@dataclass(frozen=True, slots=True)
class RemovedItem:
    """One thing that went, as the answer names it (``ssl_certificate:blog.example.com``)."""

    name: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The outcome of a removal."""

    name: str
    files_removed: bool
    items: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The outcome of start, stop or restart; ``output`` is the program's."""

    name: str
    action: str
    output: str


@dataclass(frozen=True, slots=True)
class DeploymentEvent:
    """A fact about a deployment, carried by ``flatrun_on_deployment_*``."""

    name: str
    path: Path
    identity: Identity


class Runtime(Protocol):
    """Runs deployments; the default is ``docker compose``, named in ``deployments.runtime``."""

    name: str

    def validate(self, project: Project) -> None:
        """Raise ``Invalid`` ``COMPOSE_INVALID`` when the files cannot run."""

    def start(self, project: Project) -> str:
        """Bring everything up; the program's output."""

    def stop(self, project: Project) -> str:
        """Stop the containers and keep them."""

    def restart(self, project: Project) -> str:
        """Recreate everything so that edited files take effect."""

    def down(self, project: Project, *, volumes: bool) -> str:
        """Remove containers and networks, and named volumes when asked."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Compose text and what goes with it, from a recipe or a template."""

    compose: str
    files: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a plugin makes a deployment from a validated config (``POST /api/plugins/:name/deployments``).

    ``name`` is the plugin's slug; ``config_schema`` is a JSON Schema; ``render`` gets the new
    deployment's name and the config.
    """

    name: str
    config_schema: Mapping[str, Any]
    render: Callable[[str, Mapping[str, Any]], Rendered]


class Recipes(Protocol):
    """The deployment recipes of every plugin."""

    def config_schema(self, plugin: str) -> Mapping[str, Any] | None:
        """The JSON Schema of a plugin's recipe, or None when it has no recipe."""


RECIPES: ServiceKey[Recipes] = ServiceKey("recipes", "deployments")


class EditableMetadata(MutableMapping[str, Any]):
    """``service.yml`` open for a change: a mapping in the file's own spelling.

    Values assigned are plain ones: texts, numbers, booleans, None, lists and dictionaries; lists and
    dictionaries may be changed in place.
    """

    @abstractmethod
    def save(self) -> None:
        """Write now, so that who reads the file within the block sees the change.

        Raises ``Failed`` as every write does. An exception in the block still puts the old bytes back.
        """


class Deployments(Protocol):
    """The deployments of this panel."""

    def list(self) -> Sequence[Deployment]:
        """All, by name, infrastructure ones included (``metadata["type"]`` tells)."""

    def get(self, name: str) -> Deployment:
        """One; 404 ``DEPLOYMENT_NOT_FOUND``, 400 ``INVALID_NAME``."""

    def create(self, new: NewDeployment, identity: Identity) -> Created:
        """Create, completely or not at all."""

    def act(self, name: str, action: str, identity: Identity) -> ActionResult:
        """start, stop or restart; one operation at a time for a deployment (409)."""

    def remove(self, name: str, options: RemoveOptions, identity: Identity) -> Removed:
        """Remove; with ``files`` False the folder stays with a marker."""

    def exclusive(self, name: str, wait: float = 0) -> AbstractContextManager[Deployment]:
        """Hold the deployment's lock."""

    def edit(self, name: str) -> AbstractContextManager[EditableMetadata]:
        """``service.yml`` as a round-trip document: saved on leaving, its bytes put back on an exception."""

    def of_container(self, container_id: str) -> str | None:
        """The deployment a container belongs to, or None."""

    def connect(self, name: str) -> None:
        """Put the running containers of a deployment's routed services on the proxy network.

        With the aliases that ``ROUTES.networks`` gives; those that are on it stay as they are. Raises
        ``DockerUnavailable`` and ``Failed``.
        """


DEPLOYMENTS: ServiceKey[Deployments] = ServiceKey("deployments", "deployments")


@dataclass(frozen=True, slots=True)
class DomainsChanged:
    """A fact, carried by ``flatrun_on_domains_changed``: names that came to a deployment, and that went."""

    deployment: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Routes(Protocol):
    """The routes of every deployment, kept by the domains plugin."""

    def plan(self, name: str, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """What ``service.yml`` of a creation holds, from the canonical metadata that were asked for.

        Domain entries get ids and their single-domain mirror; an exposed one without a domain gets a
        generated one when the settings say so. Raises ``Invalid`` for an entry that cannot be.
        """

    def publish(self, name: str) -> Mapping[str, Any]:
        """Apply a deployment's routes, then get the certificates its entries want.

        The answer is the ``SetupResult`` of contract section 2.2. May take minutes when an authority
        is asked; the proxy's lock is not held meanwhile.
        """

    def status(self, name: str) -> Mapping[str, Any]:
        """The ``ProxyStatus`` of contract section 2.1."""

    def owner(self, host: str) -> str | None:
        """The deployment a host or alias is routed to."""

    def hosts(self) -> Mapping[str, str]:
        """Every routed host and alias, with its deployment."""

    def together(self, host: str) -> Sequence[str]:
        """The host's entry as a certificate covers it: primary name, then aliases; empty when not routed."""

    def wants_tls(self, host: str) -> bool:
        """Whether the entry of a host wants TLS."""

    def without_tls(self, hosts: Sequence[str]) -> None:
        """Set ``ssl.enabled`` and ``ssl.auto_cert`` of the entries of these hosts to false, and apply."""

    def networks(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Compose services of a deployment that are routed, each with its aliases on the proxy network."""


ROUTES: ServiceKey[Routes] = ServiceKey("routes", "domains")


class Templates(Protocol):
    """Deployment templates."""

    def render(self, template_id: str, values: Mapping[str, Any]) -> Rendered:
        """Fill a template: ``values`` are NAME, PORT, DOMAIN and env.

        404 ``TEMPLATE_NOT_FOUND``; 400 when a placeholder it uses has no value.
        """


TEMPLATES: ServiceKey[Templates] = ServiceKey("templates", "templates")


class RegistryCredentials(Protocol):
    """Logins for pulling images."""

    def docker_config(
        self, images: Sequence[str], credential_id: str | None
    ) -> AbstractContextManager[Path | None]:
        """A throw-away ``DOCKER_CONFIG`` folder with the logins these images need, or None."""


CREDENTIALS: ServiceKey[RegistryCredentials] = ServiceKey("credentials", "registries")
