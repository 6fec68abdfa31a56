"""A template filled for one deployment: compose text, files, environment and metadata."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flatrun_core import Invalid
from flatrun_core.ports.deployments import Rendered
from flatrun_core.yaml_reader import YamlProblem, read_yaml
from flatrun_templates import networks
from flatrun_templates.environment import complete
from flatrun_templates.library import Template
from flatrun_templates.metadata import Mount
from flatrun_templates.paths import inner_path
from flatrun_templates.substitution import OWN, fill_compose, fill_content, own_values, placeholders


@dataclass(frozen=True)
class Networks:
    """The names of the networks that deployments share with the panel's own services."""

    proxy: str = networks.PROXY
    database: str = "database"

    def placeholders(self) -> dict[str, str]:
        """Their values in compose text."""
        return {"PROXY_NETWORK": self.proxy, "DATABASE_NETWORK": self.database}


def render(template: Template, values: Mapping[str, Any], panel: Networks) -> Rendered:
    """Fill a template that is not refused; see ``TemplateService.render``."""
    own = own_values(values)
    given = {str(key): str(value) for key, value in dict(values.get("env") or {}).items()}
    text, document = _compose(template, own, panel, wanted=not values.get("files_only"))
    env = complete(template.metadata.env, given, own, template.id)
    known = {**given, **env}
    # The name that older templates have for it.
    if "DB_DATABASE" in known:
        known.setdefault("DB_NAME", known["DB_DATABASE"])
    files = {file.path: fill_content(file.content, {**known, **own}) for file in template.metadata.files}
    folders = {path: "" for path in _folders(template, document) if path.rstrip("/") not in files}
    return Rendered(
        compose=text, files={**files, **folders}, env=env, metadata=_metadata(template, document, panel)
    )


def _compose(
    template: Template, own: Mapping[str, str], panel: Networks, *, wanted: bool
) -> tuple[str, Mapping[str, Any]]:
    """The filled text, empty when it is not wanted, and the document that it is."""
    if wanted:
        _check_complete(template, own)
    try:
        filled, spans = fill_compose(template.content, {**own, **panel.placeholders()})
        text = networks.adapted(filled, spans, panel.proxy)
        document = read_yaml(text)
    except YamlProblem as exc:
        if not wanted:
            return "", {}
        message = f"The compose file of the template '{template.id}' cannot be used: {exc}"
        raise Invalid(message, code="COMPOSE_INVALID") from exc
    return text if wanted else "", document if isinstance(document, dict) else {}


def _check_complete(template: Template, own: Mapping[str, str]) -> None:
    for name in OWN:
        if name not in own and name in placeholders(template.content):
            wanted = "a port" if name == "PORT" else "a domain in the metadata"
            raise Invalid(f"The template '{template.id}' uses ${{{name}}}, so it needs {wanted}")


def _metadata(template: Template, document: Mapping[str, Any], panel: Networks) -> dict[str, Any]:
    networking: dict[str, Any] = {}
    if template.metadata.container_port is not None:
        networking["container_port"] = template.metadata.container_port
    # What is named here is made before the start, should it not be there.
    shared = networks.declared_external(document, (panel.proxy, panel.database))
    if shared:
        networking["networks"] = shared
    return {"networking": networking} if networking else {}


def _folders(template: Template, document: Mapping[str, Any]) -> Iterator[str]:
    """Folders for the mounts that lie beside the compose file; the Engine would make them as root's."""
    for mount in template.metadata.mounts:
        source = _source(mount, document) if mount.type == "file" else None
        if source is not None:
            yield f"{source}/"
            yield from (f"{source}/{inner}/" for inner in mount.subdirectories)


def _source(mount: Mount, document: Mapping[str, Any]) -> str | None:
    wanted = mount.container_path.rstrip("/")
    for source, target in _binds(document):
        if target.rstrip("/") == wanted and source.startswith("./") and "$" not in source:
            return inner_path(source.rstrip("/"))
    return None


def _binds(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Source and target of every mount of the file."""
    services = document.get("services")
    for service in services.values() if isinstance(services, dict) else ():
        volumes = service.get("volumes") if isinstance(service, dict) else None
        for volume in volumes if isinstance(volumes, list) else ():
            if isinstance(volume, dict):
                yield str(volume.get("source") or ""), str(volume.get("target") or "")
            else:
                source, _, rest = str(volume).partition(":")
                yield source, rest.partition(":")[0]
