"""`scripts/journey`: from a deployment to a renewed certificate, with the time of each step."""

from __future__ import annotations

import argparse
import subprocess

from flatrun_scripts import engine, environment, layout, requirements
from flatrun_scripts.run_tests import CACHE, VENV, start_engine

PROGRAM = layout.REPOSITORY / "tests/e2e/journey.py"


def main(argv: list[str]) -> int:
    """Prepare the machine as `scripts/test` does, go the way, and put the Engine back as it was."""
    options = _options(argv)
    state = layout.State.load(CACHE)
    requirements.obtain(requirements.survey(CACHE), state, CACHE, agreed=options.yes)
    environment.make_for_tests(VENV)
    started = start_engine(CACHE / "engine")
    try:
        return subprocess.run([str(VENV / "bin/python"), str(PROGRAM)], check=False).returncode
    finally:
        if started:
            engine.stop(started)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/journey",
        description="Start a panel, its nginx, an application and pebble as the certificate authority, "
        "go the whole way of a site from its creation to a renewed certificate, and take everything "
        "down again. Each step is printed with its time.",
    )
    parser.add_argument("--yes", action="store_true", help="install without asking")
    return parser.parse_args(argv)
