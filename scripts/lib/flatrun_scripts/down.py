"""`scripts/down`: undo what `scripts/up` did, and nothing else."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path

from flatrun_scripts import compose_plugin, engine, hello_site, images, layout, packages, proxy
from flatrun_scripts.panel import Client, Panel, read_settings
from flatrun_scripts.shell import ScriptError, say, step

PROXY_FOLDER = "nginx"
ENGINE_PACKAGES = {"docker.io", "containerd", "runc"}


def main(argv: list[str]) -> int:
    """Take everything down; a second run finds nothing to do."""
    options = _options(argv)
    folder = layout.state_folder()
    venv = layout.REPOSITORY / ".venv"
    if not folder.exists():
        shutil.rmtree(venv, ignore_errors=True)
        say("Nothing of scripts/up is here.")
        return 0
    with layout.only_one(folder):
        state = layout.State.load(folder)
        panel = Panel(folder, venv)
        root = _deployments_root(panel)
        _remove_site(panel, state, root)
        panel.stop()
        kept = _others(root)
        if kept:
            _say_what_stays(folder, root, kept)
        else:
            _remove_proxy(state, root)
            _remove_images(state)
            _stop_engine(state)
        if options.packages:
            _remove_packages(state, kept)
        _remove_state(folder, venv, state, root, kept)
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/down",
        description="Remove the hello site, stop the panel, and remove what scripts/up made. "
        "Deployments of yours are never removed: while there are any, they, the settings "
        "and the Engine stay.",
    )
    parser.add_argument("--packages", action="store_true", help="also remove the packages that up installed")
    return parser.parse_args(argv)


def _deployments_root(panel: Panel) -> Path:
    """Return the deployments folder: that of the settings, ours when there are none."""
    if panel.config.exists() and (panel.venv / "bin/python").exists():
        return read_settings(panel.config, panel.venv).root
    return panel.folder / "deployments"


def _remove_site(panel: Panel, state: layout.State, root: Path) -> None:
    if not state.site:
        return
    if not engine.running():
        # Its containers would come back with the Engine, after everything that knows them has gone.
        step("Starting the Docker Engine, to remove the site from it")
        state.engine = asdict(engine.start(panel.folder / "engine"))
        state.save()
    step("Removing the hello site")
    name = str(state.site["name"])
    if not _removed_by_api(panel, name):
        hello_site.remove_by_hand(name, root / name)
        shutil.rmtree(root / name, ignore_errors=True)
    state.site = {}
    state.save()


def _removed_by_api(panel: Panel, name: str) -> bool:
    if panel.process() is None or not panel.config.exists():
        return False
    return hello_site.remove_by_api(Client(read_settings(panel.config, panel.venv)), name)


def _others(root: Path) -> list[str]:
    """Return the folders under the deployments root that `up` did not make, and certificates."""
    if not root.is_dir():
        return []
    deployments = sorted(path.name for path in root.iterdir() if path.name not in {".flatrun", PROXY_FOLDER})
    return [*deployments, *proxy.belongings(root / PROXY_FOLDER)]


def _remove_proxy(state: layout.State, root: Path) -> None:
    if state.proxy and engine.client_present() and engine.running():
        proxy.remove(state, root / PROXY_FOLDER)


def _say_what_stays(folder: Path, root: Path, kept: list[str]) -> None:
    say(f"{root} still holds: {', '.join(kept)}.")
    say(f"That stays as it is, and so do {folder / 'flatrun.yml'}, the panel's database, the proxy")
    say("and the Docker Engine. Run scripts/up to have the panel again, or remove what is left there")
    say("and run scripts/down once more.")


def _remove_images(state: layout.State) -> None:
    if not state.images or not engine.client_present() or not engine.running():
        return
    state.images = [name for name in state.images if not images.remove(name)]
    state.save()


def _stop_engine(state: layout.State) -> None:
    if not state.engine:
        return
    left = engine.containers() if engine.running() else []
    if left:
        say(f"The Docker Engine still runs containers ({', '.join(left[:5])}), so it goes on.")
        return
    step("Stopping the Docker Engine")
    engine.stop(engine.Started(**state.engine))
    state.engine = {}
    state.save()


def _remove_packages(state: layout.State, kept: list[str]) -> None:
    names = [name for name in state.packages if packages.installed(name)]
    if names and (kept or (engine.running() and ENGINE_PACKAGES & set(names))):
        raise ScriptError(
            "The packages were not removed.",
            "Deployments are left, and they need the Engine." if kept else "The Docker Engine still runs.",
            "Remove what you can do without, then run scripts/down --packages again.",
        )
    if names:
        step(f"Removing {' '.join(names)}")
        packages.remove(names)
        say("What the Engine stored stays in /var/lib/docker.")
    state.packages = []
    if state.compose_plugin:
        compose_plugin.remove(Path(state.compose_plugin))
        state.compose_plugin = ""
    state.save()


def _remove_state(folder: Path, venv: Path, state: layout.State, root: Path, kept: list[str]) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    if kept:
        return
    if root.is_relative_to(folder):
        # The panel's own files may belong to other users; deployments there are none any more.
        shutil.rmtree(root, ignore_errors=True)
    remember = bool(state.packages or state.compose_plugin or state.engine)
    for path in folder.iterdir():
        if path.name == "engine" and state.engine:
            continue
        if path == state.path and remember:
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if remember:
        _say_what_is_remembered(folder, state)
    else:
        folder.rmdir()
        say("Everything that scripts/up made is gone.")


def _say_what_is_remembered(folder: Path, state: layout.State) -> None:
    if state.packages or state.compose_plugin:
        names = [*state.packages, *([state.compose_plugin] if state.compose_plugin else [])]
        say(f"Installed by scripts/up and still there: {' '.join(names)}.")
        say("scripts/down --packages removes them.")
    say(f"{folder / 'up.json'} keeps the record of it.")
