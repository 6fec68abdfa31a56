"""From a request to what will be written: compose text, files, environment and ``service.yml``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from flatrun_core import Invalid, PluginContext, fields
from flatrun_core.ports.deployments import CREDENTIALS, ROUTES, TEMPLATES, NewDeployment, Rendered
from flatrun_deployments import compose_file, env_file, service_yml
from flatrun_deployments.discovery import Folder
from flatrun_deployments.errors import plugin_required, project_in_use

COMPOSE_NAME: Final = compose_file.CANDIDATES[0]

_DATABASE_WISHES: Final = {
    "use_shared_database": "A shared database",
    "existing_database_container": "An existing database container",
    "databases": "A database",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a creation writes.

    ``port`` is the host port that was asked for; ``rendered_again`` fills a template's files once
    more with other env.
    """

    name: str
    compose: str
    document: Mapping[str, Any]
    metadata: Mapping[str, Any]
    env: Mapping[str, str]
    files: Mapping[str, str]
    folders: tuple[str, ...]
    port: int | None = None
    credentials: Mapping[str, str] = field(default_factory=dict)
    rendered_again: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None

    @property
    def exposed(self) -> bool:
        """Whether a host is to be routed to it."""
        return bool(self.metadata.get("networking", {}).get("expose"))

    @property
    def variables(self) -> dict[str, str]:
        """What Compose will find for variables in the compose file."""
        return {**env_file.parse(self.files.get(".env", "")), **self.env}

    def with_env(self, added: Mapping[str, str], explicit: Mapping[str, str]) -> "Plan":
        """The plan after plugins added environment; what the request said itself wins."""
        env = {**self.env, **added, **explicit}
        if not added or self.rendered_again is None:
            return replace(self, env=env)
        return replace(self, env=env, files=_plain_files(self.rendered_again(env)))


def wants_database(new: NewDeployment) -> bool:
    """Whether the request asks for a database, whose address the compose file may need."""
    return any(new.options.get(key) for key in _DATABASE_WISHES)


def check_wishes(ctx: PluginContext, new: NewDeployment) -> None:
    """Raise 400 ``PLUGIN_REQUIRED`` for a wish whose plugin is not active."""
    for key, wish in _DATABASE_WISHES.items():
        if new.options.get(key) and not ctx.hooks.implemented_by("databases"):
            raise plugin_required("databases", wish)
    if new.options.get("registry_credential") and ctx.services.find(CREDENTIALS) is None:
        raise plugin_required("registries", "A registry login")


def plan(
    ctx: PluginContext, new: NewDeployment, kept_env: Mapping[str, str], network: str, now: datetime
) -> Plan:
    """Everything that can be known before anything is touched; 400 and 404 for what is wrong.

    ``kept_env`` is the environment of a removed deployment whose folder is taken over: what was
    generated then is not generated anew, because its data know it. ``network`` is the proxy's.
    """
    routes = ctx.services.find(ROUTES)
    asked = _asked_metadata(new)
    asked = dict(routes.plan(new.name, asked)) if routes is not None else _named(asked)
    env = {**kept_env, **new.env}
    render = _template(ctx, new, asked)
    rendered = render(env) if render is not None else Rendered(compose="")
    text = new.compose if new.compose is not None else rendered.compose
    document = compose_file.check_new(text, new.name, network)
    files = {**rendered.files, **new.files}
    _check_paths(files)
    port = (asked.get("networking") or {}).get("host_port")
    compose = compose_file.ComposeFile.parse(Path(new.name) / COMPOSE_NAME, text, {**rendered.env, **env})
    if port is not None and (port, "tcp") in compose.published:
        # Said twice it would be bound twice, and the start would fail.
        del asked["networking"]["host_port"]
    wanted = _merged(_template_metadata(new, rendered), asked)
    if routes is not None and wanted.get("domains"):
        wanted = _targeted(wanted, compose)
    return Plan(
        name=new.name,
        compose=text,
        document=document,
        metadata=_metadata(new, wanted, now),
        env={**rendered.env, **env},
        files=_plain_files(files),
        folders=(*_folders(files), *_mounted(document, files)),
        port=port,
        credentials=rendered.credentials,
        rendered_again=(lambda again: {**render(again).files, **new.files}) if render is not None else None,
    )


def check_project(name: str, folders: Sequence[Folder]) -> None:
    """Raise 409 ``PROJECT_IN_USE`` when another folder has the compose project of a new deployment.

    It is the deployment's name: a compose file that gives another one is refused.
    """
    if any(folder.name == name for folder in folders):
        # That it exists already is told in words of its own.
        return
    others = [folder.name for folder in folders if folder.project == name]
    if others:
        raise project_in_use(name, others)


def of_rendered(new: NewDeployment, rendered: Rendered) -> NewDeployment:
    """A recipe's result as a request for a deployment of that name."""
    return replace(
        new,
        compose=rendered.compose,
        files=rendered.files,
        env={**rendered.env, **new.env},
        metadata=_merged(rendered.metadata, new.metadata),
    )


def _template(
    ctx: PluginContext, new: NewDeployment, asked: Mapping[str, Any]
) -> Callable[[Mapping[str, str]], Rendered] | None:
    if new.template_id is None:
        if new.compose is None:
            raise Invalid("Either compose or template_id is required", code="COMPOSE_OR_TEMPLATE_REQUIRED")
        return None
    templates, template_id = ctx.services.find(TEMPLATES), new.template_id
    if templates is None:
        raise plugin_required("templates", "A template")
    values = {"NAME": new.name, "PORT": new.port, "DOMAIN": _first_domain(asked)}
    # Beside compose text only files, mounts and the container port count.
    if new.compose is not None:
        values["files_only"] = True
    return lambda env: templates.render(template_id, {**values, "env": dict(env)})


def _asked_metadata(new: NewDeployment) -> dict[str, Any]:
    asked = service_yml.from_request(new.metadata)
    networking = dict(asked.get("networking") or {})
    if new.port is not None:
        networking["host_port"] = new.port
    if networking:
        asked["networking"] = networking
    credential = new.options.get("registry_credential")
    if isinstance(credential, Mapping) and credential.get("credential_id"):
        asked["credential_id"] = str(credential["credential_id"])
    return asked


def _named(asked: dict[str, Any]) -> dict[str, Any]:
    """The metadata with names of hosts as they are kept, where no plugin plans routes."""
    networking = asked.get("networking") or {}
    if networking.get("domain"):
        domain = _host("metadata.networking.domain", networking["domain"])
        asked["networking"] = {**networking, "domain": domain}
    if asked.get("domains"):
        asked["domains"] = [_domain(entry) for entry in asked["domains"]]
    return asked


def _domain(entry: Mapping[str, Any]) -> dict[str, Any]:
    named = {**entry, "domain": _host("metadata.domains.domain", entry.get("domain"))}
    if entry.get("aliases"):
        named["aliases"] = [_host("metadata.domains.aliases", alias) for alias in entry["aliases"]]
    return named


def _host(where: str, value: object) -> str:
    try:
        return fields.host_name(str(value or ""))
    except ValueError as exc:
        raise Invalid(f"{where}: Not a valid domain name") from exc


def _targeted(wanted: dict[str, Any], compose: compose_file.ComposeFile) -> dict[str, Any]:
    """Domain entries with the service and port they leave out; the single-domain fields are the first's."""
    networking = dict(wanted.get("networking") or {})
    primary = compose.primary(networking.get("service") or "")
    entries = []
    for entry in wanted["domains"]:
        service = entry.get("service") or primary
        said = networking.get("container_port") if service == primary else None
        port = entry.get("container_port") or said or compose.container_port(service)
        entries.append({**entry, "service": service, "container_port": port or compose_file.DEFAULT_PORT})
    networking |= {key: entries[0][key] for key in ("service", "container_port")}
    return {**wanted, "domains": entries, "networking": networking}


def _first_domain(metadata: Mapping[str, Any]) -> str | None:
    for entry in metadata.get("domains") or ():
        return str(entry["domain"])
    domain = (metadata.get("networking") or {}).get("domain")
    return str(domain) if domain else None


def _template_metadata(new: NewDeployment, rendered: Rendered) -> Mapping[str, Any]:
    port = (rendered.metadata.get("networking") or {}).get("container_port")
    if new.compose is None:
        return rendered.metadata
    return {"networking": {"container_port": port}} if port else {}


def _metadata(new: NewDeployment, wanted: dict[str, Any], now: datetime) -> dict[str, Any]:
    wanted.setdefault("name", new.name)
    wanted["created_at"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    if new.template_id is not None:
        wanted["template_id"] = new.template_id
    return wanted


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = {**below, **value} if both and below is not None else value
    return result


def _check_paths(files: Mapping[str, str]) -> None:
    for path in files:
        top = next(iter(PurePosixPath(path).parts), "")
        if top in (COMPOSE_NAME, service_yml.FILENAME, env_file.FILENAME) or top.startswith(".flatrun"):
            raise Invalid(f"The file '{path[:60]}' is one of the panel's own", code="INVALID_PATH")


def _plain_files(files: Mapping[str, str]) -> dict[str, str]:
    return {path: text for path, text in files.items() if not path.endswith("/")}


def _folders(files: Mapping[str, str]) -> list[str]:
    return [path.rstrip("/") for path in files if path.endswith("/")]


def _mounted(document: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
    """Folders that services mount from beside the compose file, which the Engine would make as root's."""
    written = {str(PurePosixPath(path)) for path in files}
    found = []
    for service in document["services"].values():
        for volume in service.get("volumes") or () if isinstance(service, Mapping) else ():
            relative = _relative_source(volume)
            if relative and relative not in written and relative not in found:
                found.append(relative)
    return found


def _relative_source(volume: object) -> str | None:
    if isinstance(volume, Mapping):
        source = str(volume.get("source") or "") if volume.get("type") == "bind" else ""
    else:
        source = str(volume).split(":", 1)[0] if ":" in str(volume) else ""
    path = PurePosixPath(source)
    if not source.startswith("./") or "$" in source or ".." in path.parts or not path.parts:
        return None
    # A name like nginx.conf is a file that its owner has yet to bring; conf.d is a folder.
    return str(path) if path.suffix in ("", ".d") else None
