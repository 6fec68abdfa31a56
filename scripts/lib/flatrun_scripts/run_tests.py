"""`scripts/test`: everything that is tested, in one run of pytest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from flatrun_scripts import caddy, engine, environment, layout, pebble, requirements
from flatrun_scripts.shell import must, say, step

VENV = layout.REPOSITORY / ".venv-test"
CACHE = layout.REPOSITORY / ".cache"
# Tests that share one thing (an Engine of their own, say) name a group and stay on one worker.
WORKERS = ["-n", "auto", "--dist", "loadgroup"]


def main(argv: list[str]) -> int:
    """Prepare the machine, run the tests, and put the Engine back as it was."""
    state = layout.State.load(CACHE)
    requirements.obtain(requirements.survey(CACHE, for_tests=True), state, CACHE, agreed=True)
    environment.make_for_tests(VENV)
    _fetch_authority()
    _fetch_second_proxy()
    started = start_engine(CACHE / "engine")
    try:
        _build_images()
        return _pytest(argv)
    finally:
        # Without a word: the last line is the test runner's.
        if started:
            engine.stop(started)


def start_engine(folder: Path) -> engine.Started | None:
    """Start the Engine unless one runs; what was started has to be stopped again."""
    if engine.running():
        return None
    step("Starting the Docker Engine")
    engine.check_access()
    return engine.start(folder)


def _fetch_authority() -> None:
    if not pebble.present(CACHE):
        step("Fetching pebble, the ACME authority of the end-to-end tests")
        pebble.programs(CACHE)


def _fetch_second_proxy() -> None:
    if not caddy.present(CACHE):
        step("Fetching caddy, the second proxy of the end-to-end tests")
        caddy.fetch(CACHE)


def _build_images() -> None:
    step("Making the images of the end-to-end tests")
    script = layout.REPOSITORY / "tests/e2e/images/build.py"
    say(must([VENV / "bin/python", script], what="The images could not be made.").out.strip())


def _pytest(argv: list[str]) -> int:
    """Run pytest, by default on everything, with this terminal and its closing line the last."""
    words = [str(VENV / "bin/python"), "-m", "pytest", *WORKERS, *argv]
    if not any(Path(arg.split("::")[0]).exists() for arg in argv if not arg.startswith("-")):
        words += _places()
    step(" ".join(words[2:]))
    # Programs of the environment (flatrun itself) come first, as in an activated one.
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environ = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(VENV)}
    return subprocess.run(words, check=False, cwd=layout.REPOSITORY, env=environ).returncode


def _places() -> list[str]:
    return [name for name in ("tests", "plugins", "examples") if (layout.REPOSITORY / name).is_dir()]
