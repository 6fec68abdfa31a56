"""Templates as the JSON of the API, straight from their dataclasses; tests hold the schemas to it."""

from typing import Any

from flatrun_templates.library import Template
from flatrun_templates.metadata import Mount


def template(found: Template) -> dict[str, Any]:
    """One template of the list."""
    known = found.metadata
    return {
        "id": found.id,
        "name": known.name,
        "description": known.description,
        "icon": known.icon,
        "logo": known.logo,
        "category": known.category,
        "priority": known.priority,
        "container_port": known.container_port,
        "mounts": [_mount(mount) for mount in known.mounts],
        "files": [{"path": file.path, "content": file.content} for file in known.files],
        "content": found.content,
    }


def _mount(mount: Mount) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": mount.id,
        "name": mount.name,
        "container_path": mount.container_path,
        "description": mount.description,
        "type": mount.type,
        "required": mount.required,
    }
    if mount.user:
        shown["user"] = mount.user
    if mount.subdirectories:
        shown["subdirectories"] = list(mount.subdirectories)
    return shown
