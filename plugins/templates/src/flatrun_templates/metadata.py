"""``metadata.yml`` of a template: what it says, and defaults for what it says wrongly."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flatrun_core.yaml_reader import YamlProblem, read_yaml
from flatrun_templates.categories import DEFAULT, folded, title
from flatrun_templates.environment import KEY, Variable, generator
from flatrun_templates.paths import inner_path, is_the_panels

ICON: Final = "pi pi-box"
_MOUNT_TYPES: Final = ("file", "volume")
_USER: Final = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")
_LOGO: Final = re.compile(r"(https?://|/)\S*")
_MAX_TEXT: Final = 4000
_MAX_PRIORITY: Final = 1_000_000
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Mount:
    """A place of a container whose data is to be kept; ``user`` is ``uid:gid`` or empty."""

    id: str
    name: str
    container_path: str
    description: str = ""
    type: str = "volume"
    required: bool = False
    user: str = ""
    subdirectories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    """A file that goes beside the compose file."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a template.

    ``problems`` tell what was wrong and became a default; ``refusal`` is a reason for which nothing
    may be made from the template at all, such as a file outside the deployment's folder.
    """

    name: str
    description: str = ""
    icon: str = ICON
    logo: str = ""
    category: str = DEFAULT
    priority: int = 0
    container_port: int | None = None
    mounts: tuple[Mount, ...] = ()
    files: tuple[File, ...] = ()
    env: tuple[Variable, ...] = ()
    problems: tuple[str, ...] = ()
    refusal: str = ""


def read_metadata(template_id: str, text: str | None) -> Metadata:
    """The metadata of a template; never raises, ``text`` None means that there is none."""
    try:
        document = read_yaml(text) if text else None
    except YamlProblem as exc:
        return Metadata(title(template_id), problems=(f"it cannot be read: {exc}",))
    if document is None:
        return Metadata(title(template_id))
    if not isinstance(document, dict):
        return Metadata(title(template_id), problems=("it is not a mapping",))
    return _Reading(document).metadata(template_id)


class _Reading:
    """One mapping being read; what is wrong is kept as a sentence."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._problems: list[str] = []
        self._refusal = ""

    def metadata(self, template_id: str) -> Metadata:
        document = self._document
        files = self._files()
        category = str(document.get("category") or DEFAULT)
        if folded(category) is None:
            self._problems.append("category is not one")
        return Metadata(
            name=self._text(document, "name") or title(template_id),
            description=self._text(document, "description"),
            icon=self._text(document, "icon") or ICON,
            logo=self._logo(),
            category=folded(category) or DEFAULT,
            priority=self._number("priority", -_MAX_PRIORITY, _MAX_PRIORITY) or 0,
            container_port=self._number("container_port", 1, _LAST_PORT),
            mounts=self._mounts(),
            files=files,
            env=self._variables(),
            problems=tuple(self._problems),
            refusal=self._refusal,
        )

    def _text(self, entry: Mapping[str, Any], key: str) -> str:
        value = entry.get(key)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > _MAX_TEXT:
            self._problems.append(f"{key} is not a text")
            return ""
        return str(value).strip()

    def _logo(self) -> str:
        logo = self._text(self._document, "logo")
        if logo and not _LOGO.fullmatch(logo):
            self._problems.append("logo is not an address")
            return ""
        return logo

    def _number(self, key: str, least: int, most: int) -> int | None:
        value = self._document.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self._problems.append(f"{key} is not a number from {least} to {most}")
            return None
        return value

    def _flag(self, entry: Mapping[str, Any], key: str) -> bool:
        value = entry.get(key)
        if value is not None and not isinstance(value, bool):
            self._problems.append(f"{key} is not true or false")
        return value is True

    def _entries(self, key: str) -> list[Mapping[str, Any]]:
        value = self._document.get(key)
        if value is None:
            return []
        entries = value if isinstance(value, list) else []
        found: list[Mapping[str, Any]] = [entry for entry in entries if isinstance(entry, dict)]
        if not isinstance(value, list) or len(found) != len(entries):
            self._problems.append(f"{key} is not a list of mappings")
        return found

    def _mounts(self) -> tuple[Mount, ...]:
        mounts: dict[str, Mount] = {}
        for entry in self._entries("mounts"):
            path = self._text(entry, "container_path")
            identifier = self._text(entry, "id") or path.strip("/").replace("/", "-")
            if not path.startswith("/") or ".." in path.split("/") or identifier in mounts:
                self._problems.append("a mount has no container_path, or the id of another")
                continue
            mounts[identifier] = self._mount(entry, identifier, path)
        return tuple(mounts.values())

    def _mount(self, entry: Mapping[str, Any], identifier: str, path: str) -> Mount:
        kind, user = self._text(entry, "type") or "volume", self._text(entry, "user")
        if kind not in _MOUNT_TYPES:
            self._problems.append(f"mount {identifier}: type is neither file nor volume")
            kind = "volume"
        if user and not _USER.fullmatch(user):
            self._problems.append(f"mount {identifier}: user is not uid:gid")
            user = ""
        return Mount(
            id=identifier,
            name=self._text(entry, "name") or title(identifier),
            container_path=path,
            description=self._text(entry, "description"),
            type=kind,
            required=self._flag(entry, "required"),
            user=user,
            subdirectories=self._subdirectories(entry, identifier),
        )

    def _subdirectories(self, entry: Mapping[str, Any], identifier: str) -> tuple[str, ...]:
        given = entry.get("subdirectories") or []
        if not isinstance(given, list):
            self._problems.append(f"mount {identifier}: subdirectories is not a list")
            return ()
        found = [inner_path(item.rstrip("/")) if isinstance(item, str) else None for item in given]
        if None in found:
            self._refusal = f"a subdirectory of mount {identifier} leaves its folder"
        return tuple(path for path in found if path is not None)

    def _files(self) -> tuple[File, ...]:
        files: dict[str, File] = {}
        for entry in self._entries("files"):
            path, content = inner_path(entry.get("path")), entry.get("content", "")
            if path is None:
                self._refusal = "a file's path leaves the folder of the deployment"
            elif is_the_panels(path):
                self._refusal = f"the file '{path}' is one of the panel's own"
            elif not isinstance(content, str) or "\0" in content:
                self._problems.append(f"file '{path}': content is not a text")
            else:
                files[path] = File(path, content)
        if any(f"{parent}/" == path[: len(parent) + 1] for parent in files for path in files):
            self._refusal = "a file has the name of another one's folder"
        return tuple(files.values())

    def _variables(self) -> tuple[Variable, ...]:
        variables: dict[str, Variable] = {}
        for entry in self._entries("env"):
            key = self._text(entry, "key")
            if not KEY.fullmatch(key):
                self._problems.append("env: a key is not the name of a variable")
                continue
            variables[key] = Variable(
                key, self._default(entry), self._flag(entry, "required"), self._recipe(entry, key)
            )
        return tuple(variables.values())

    def _default(self, entry: Mapping[str, Any]) -> str | None:
        value = entry.get("default")
        if isinstance(value, bool):
            return str(value).lower()
        return None if value is None else self._text(entry, "default")

    def _recipe(self, entry: Mapping[str, Any], key: str) -> str:
        value = entry.get("generate")
        if value is None or value is False:
            return ""
        if value is True:
            return "password"
        recipe = f"password:{value}" if isinstance(value, int) else str(value)
        if generator(recipe) is None:
            # A secret that is random in another form is better than none.
            self._problems.append(f"env {key}: generate is no recipe that is known")
            return "password"
        return recipe
