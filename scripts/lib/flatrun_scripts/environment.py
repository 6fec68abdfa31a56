"""Virtual environments with the core and the distributions of this repository."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from flatrun_scripts import layout
from flatrun_scripts.shell import must, run, step

STAMP = "flatrun-stamp"
# Builds run without isolation: one copy of the tools serves all the distributions.
BUILD_TOOLS = ("pip", "setuptools>=77", "wheel")
NETWORK = "Check that this machine reaches PyPI (pip's own settings apply), then try again."


def panel_stamp() -> str:
    """Return the fingerprint of everything that is installed for the panel."""
    root = layout.REPOSITORY
    files = [root / name for name in ("setup.cfg", "pyproject.toml", "hookspecs.py")]
    files += layout.source_files(root / "flatrun_core")
    for folder in layout.distributions("plugins"):
        files += layout.source_files(folder)
    return layout.fingerprint([path for path in files if path.is_file()], sys.version)


def current(folder: Path, stamp: str) -> bool:
    """Tell whether an environment was finished for this very state of the tree."""
    try:
        return (folder / STAMP).read_text(encoding="ascii") == stamp
    except OSError:
        return False


def make_for_panel(folder: Path, stamp: str) -> None:
    """Install the core and every plugin, as copies: the tree may change while the panel runs."""
    step(f"Making the virtual environment {folder}")
    python = _create(folder)
    with tempfile.TemporaryDirectory(prefix="flatrun-source-") as name:
        source = _staged(Path(name) / "source")
        root = layout.REPOSITORY
        plugins = [source / path.relative_to(root) for path in layout.distributions("plugins")]
        _install(python, [source, *plugins], editable=False)
    (folder / STAMP).write_text(stamp, encoding="ascii")


def make_for_tests(folder: Path) -> None:
    """Install everything editable, with what the tests need, unless that is done already."""
    everything = [layout.REPOSITORY, *layout.distributions("plugins", "examples")]
    files = [path / name for path in everything for name in ("setup.cfg", "pyproject.toml")]
    stamp = layout.fingerprint([path for path in files if path.is_file()], sys.version)
    if current(folder, stamp):
        return
    step(f"Making the virtual environment {folder}")
    # From nothing: a plugin that was renamed would stay installed under its old name.
    shutil.rmtree(folder, ignore_errors=True)
    python = _create(folder)
    _install(python, everything, editable=True)
    (folder / STAMP).write_text(stamp, encoding="ascii")


def _create(folder: Path) -> Path:
    python = folder / "bin/python"
    if run([python, "-m", "pip", "--version"]).code != 0:
        must(
            [sys.executable, "-m", "venv", "--clear", folder],
            what=f"The virtual environment {folder} could not be made.",
            todo="Look at the message and at the free space of the disk.",
        )
    (folder / STAMP).unlink(missing_ok=True)
    must(
        [python, "-m", "pip", "install", "-q", "--upgrade", *BUILD_TOOLS],
        what="The build tools could not be installed from PyPI.",
        todo=NETWORK,
    )
    return python


def _install(python: Path, folders: Sequence[Path], *, editable: bool) -> None:
    words: list[str] = []
    for folder in folders:
        extra = "[test]" if editable and "test" in layout.extras(folder) else ""
        words += ["-e", f"{folder}{extra}"] if editable else [str(folder)]
    must(
        [python, "-m", "pip", "install", "-q", "--no-build-isolation", *words],
        what="Flatrun and its plugins could not be installed.",
        todo=NETWORK,
    )


def _staged(target: Path) -> Path:
    """Copy the sources: a build in the tree leaves files, and picks up what an old one left."""
    root = layout.REPOSITORY
    wanted = {"flatrun_core", "plugins", "hookspecs.py", "setup.cfg", "setup.py", "pyproject.toml"}
    target.mkdir()
    for path in root.iterdir():
        if path.name in wanted or path.suffix == ".md" or path.name.startswith("LICENSE"):
            if path.is_dir():
                ignore = shutil.ignore_patterns(*layout.NOT_SOURCE)
                shutil.copytree(path, target / path.name, ignore=ignore)
            else:
                shutil.copy2(path, target / path.name)
    return target
