"""A root with deployments, what finds them there, and counts of what it reads."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flatrun_deployments import folder as folder_module
from flatrun_deployments.discovery import Discovery, Folder

COMPOSE = "services:\n  web:\n    image: busybox\n    ports: ['${PORT:-8080}:80']\n"
DISCOVERY = "flatrun_deployments.discovery."


class Parses:
    """Counts how often folders are read and parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = self.built = 0
        gather, build = folder_module.gather, folder_module.build

        def counted_gather(path: Path) -> object:
            self.read += 1
            return gather(path)

        def counted_build(raw: folder_module.Raw) -> Folder:
            self.built += 1
            return build(raw)

        monkeypatch.setattr(DISCOVERY + "gather", counted_gather)
        monkeypatch.setattr(DISCOVERY + "build", counted_build)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder of all deployments."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def found(root: Path) -> Discovery:
    """Return what finds the deployments in it."""
    return Discovery(lambda: root)


@pytest.fixture
def make(root: Path) -> Callable[..., Path]:
    """Return a function that makes a deployment's folder."""

    def make(name: str, compose: str | None = COMPOSE, **files: str) -> Path:
        folder = root / name
        folder.mkdir()
        if compose is not None:
            (folder / "docker-compose.yml").write_text(compose)
        for key, text in files.items():
            (folder / {"service": "service.yml", "env": ".env.flatrun", "user_env": ".env"}[key]).write_text(
                text
            )
        return folder

    return make


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Parses:
    """Return the counts of what is read and parsed."""
    return Parses(monkeypatch)


@pytest.fixture
def names() -> Callable[[Discovery], list[str]]:
    """Return a function that tells the names of the folders found."""

    def names(discovery: Discovery) -> list[str]:
        return [folder.name for folder in discovery.scan()]

    return names


@pytest.fixture
def only() -> Callable[[Discovery], Folder]:
    """Return a function that finds the one folder there is."""

    def only(discovery: Discovery) -> Folder:
        (folder,) = discovery.scan()
        return folder

    return only


@pytest.fixture
def settle() -> Callable[[Discovery], list[Folder]]:
    """Return a function that waits until what is on disk is old enough to be trusted, and looks."""

    def settle(discovery: Discovery) -> list[Folder]:
        time.sleep(0.12)
        return discovery.scan()

    return settle


@pytest.fixture
def compose_text() -> str:
    """Return the compose file that folders are made with."""
    return COMPOSE
