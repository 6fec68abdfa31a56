"""All templates: those on disk, and the shipped ones that have no usable copy there.

What was read is kept with what the files looked like, so that nothing is parsed twice and an edit by
hand shows at once. Safe to use from many threads: entries are only ever replaced.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flatrun_templates import disk
from flatrun_templates.copies import Copies
from flatrun_templates.metadata import Metadata, read_metadata
from flatrun_templates.paths import COMPOSE_NAME

ID: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
# Within this time a file may change again without looking different.
_RACY_NANOSECONDS: Final = 100_000_000
_MAX_ID: Final = 128

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it is on disk, nothing filled in."""

    id: str
    content: str
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a folder gave; ``problems`` were logged when they first appeared."""

    signature: disk.Signature
    settled: bool
    template: Template | None
    problems: tuple[str, ...]


class Library:
    """The templates of one panel; ``folder`` answers where they are, ``shipped`` are those in packages."""

    def __init__(self, folder: Callable[[], Path], shipped: Mapping[str, Path], copies: Copies) -> None:
        self._folder = folder
        self._shipped = shipped
        self._copies = copies
        self._entries: dict[str, _Entry] = {}

    def all(self) -> list[Template]:
        """Every template, by priority and then by name."""
        folder = self._folder()
        names = self._names(folder)
        missing = self._shipped.keys() - names
        if missing and self._copies.add(sorted(missing)):
            names = self._names(folder)
        self._forget(folder, names)
        found = [self._one(folder, name) for name in names | self._shipped.keys()]
        templates = [template for template in found if template is not None]
        return sorted(templates, key=lambda one: (-one.metadata.priority, one.metadata.name.lower(), one.id))

    def get(self, template_id: str) -> Template | None:
        """One template; None for an unknown id."""
        if not is_id(template_id):
            return None
        folder = self._folder()
        if template_id in self._shipped and not os.path.lexists(folder / template_id):
            self._copies.add([template_id])
        return self._one(folder, template_id)

    def forget(self) -> None:
        """Read everything anew at the next look."""
        self._entries = {}

    def _names(self, folder: Path) -> set[str]:
        try:
            return {path.name for path in folder.iterdir() if is_id(path.name)}
        except FileNotFoundError:
            return set()
        except OSError as exc:
            log.warning("the folder of templates cannot be read: %s", exc.strerror)
            return set()

    def _forget(self, folder: Path, names: set[str]) -> None:
        known = {str(folder / name) for name in names} | {str(path) for path in self._shipped.values()}
        if not self._entries.keys() <= known:
            self._entries = {key: entry for key, entry in list(self._entries.items()) if key in known}

    def _one(self, folder: Path, template_id: str) -> Template | None:
        template = self._current(folder / template_id, template_id)
        if template is None and template_id in self._shipped:
            template = self._current(self._shipped[template_id], template_id)
        return template

    def _current(self, folder: Path, template_id: str) -> Template | None:
        key = str(folder)
        signature = disk.signature(key)
        before = self._entries.get(key)
        if before is not None and before.settled and before.signature == signature:
            return before.template
        settled = time.time_ns() - disk.newest(signature) > _RACY_NANOSECONDS
        template, problems = _read(folder, template_id)
        if problems and (before is None or before.problems != problems):
            log.warning("template '%s': %s", template_id, "; ".join(problems))
        self._entries[key] = _Entry(signature, settled, template, problems)
        return template


def is_id(text: str) -> bool:
    """Whether a text can be the id of a template."""
    return len(text) <= _MAX_ID and ID.fullmatch(text) is not None


def _read(folder: Path, template_id: str) -> tuple[Template | None, tuple[str, ...]]:
    """A folder's template, or None with the reason; none of it for a folder without a compose file."""
    try:
        compose, metadata = disk.read_files(folder)
        if compose is None:
            return None, ()
        content = disk.as_text(COMPOSE_NAME, compose)
    except disk.Refused as exc:
        return None, (f"it is left out: {exc}",)
    read = _read_metadata(template_id, metadata)
    problems = [*read.problems, *([read.refusal] if read.refusal else [])]
    return Template(template_id, content, read), tuple(f"{disk.METADATA_NAME}: {text}" for text in problems)


def _read_metadata(template_id: str, data: bytes | disk.Refused | None) -> Metadata:
    try:
        if isinstance(data, disk.Refused):
            raise data
        return read_metadata(template_id, None if data is None else disk.as_text(disk.METADATA_NAME, data))
    except disk.Refused as exc:
        return Metadata(read_metadata(template_id, None).name, problems=(str(exc),))
