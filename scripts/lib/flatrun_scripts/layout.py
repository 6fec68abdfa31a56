"""Where things are: the repository, its distributions, and the state of `scripts/up`."""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flatrun_scripts.shell import ScriptError

REPOSITORY = Path(__file__).resolve().parents[3]
# What a build never reads: it is neither staged nor part of a fingerprint.
NOT_SOURCE = (".*", "__pycache__", "*.pyc", "*.egg-info", "build", "dist", "node_modules")


def state_folder() -> Path:
    """Return the folder of everything that `scripts/up` makes, deployments included."""
    return Path(os.environ.get("FLATRUN_HOME") or REPOSITORY / ".flatrun").resolve()


def distributions(*groups: str) -> list[Path]:
    """Return the folders under `groups` that can be installed, by name.

    The folders are the only list of plugins there is.
    """
    found = []
    for group in groups:
        for folder in sorted((REPOSITORY / group).glob("*")):
            if (folder / "setup.cfg").is_file() or (folder / "pyproject.toml").is_file():
                found.append(folder)
    return found


def extras(folder: Path) -> list[str]:
    """Return the names of the extras that a distribution declares in its setup.cfg."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(folder / "setup.cfg", encoding="utf-8")
    section = "options.extras_require"
    return list(parser[section]) if parser.has_section(section) else []


def fingerprint(files: list[Path], *more: str) -> str:
    """Return a hash over names and contents of files."""
    digest = hashlib.sha256("\0".join(more).encode())
    for path in sorted(files):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(REPOSITORY)}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def source_files(folder: Path) -> list[Path]:
    """Return every file of a folder that may go into a distribution."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(
            part.startswith(".")
            or part.endswith((".egg-info", ".pyc"))
            or part in {"__pycache__", "build", "dist", "node_modules"}
            for part in path.relative_to(folder).parts
        )
    ]


@dataclass
class State:
    """What `scripts/up` did, so that `scripts/down` undoes exactly that."""

    path: Path
    packages: list[str] = field(default_factory=list)
    compose_plugin: str = ""
    engine: dict[str, str] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    site: dict[str, Any] = field(default_factory=dict)
    proxy: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> State:
        """Read the record of a state folder, an empty one where there is none."""
        path = folder / "up.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, **data)
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError, TypeError) as error:
            raise ScriptError(
                f"{path} cannot be read.",
                str(error),
                "It records what scripts/up installed and started. Repair it, or move it away.",
            ) from error

    def save(self) -> None:
        """Write the record; a crash leaves the old or the new one."""
        data = {key: value for key, value in asdict(self).items() if key != "path"}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        draft.replace(self.path)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let one of `up` and `down` work on a state folder at a time."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ScriptError(
            "Another scripts/up or scripts/down is at work here.",
            f"It holds {folder / 'lock'}.",
            "Wait until it has ended, then run the script again.",
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)
