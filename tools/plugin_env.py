#!/usr/bin/env python3
"""The core and one plugin only, for tox: install ``plugin-<slug>``, or with ``--test`` run its tests."""

import configparser
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def required(slug: str) -> list[str]:
    """Slugs of the plugins that one names in ``install_requires``, itself last."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "plugins" / slug / "setup.cfg")
    names = [
        line.split(">")[0].split("=")[0].strip() for line in parser["options"]["install_requires"].split("\n")
    ]
    others = [
        name.removeprefix("flatrun-").replace("-", "_") for name in names if name.startswith("flatrun-")
    ]
    return [other for other in others if other != "core"] + [slug]


def main(environment: str, arguments: list[str]) -> int:
    """Install or test; the exit code of what was run."""
    slug = environment.removeprefix("plugin-")
    if arguments[:1] == ["--test"]:
        command = [sys.executable, "-m", "pytest", "-m", "not e2e", f"plugins/{slug}", *arguments[1:]]
    else:
        folders = [argument for name in required(slug) for argument in ("-e", f"plugins/{name}")]
        command = [sys.executable, "-m", "pip", "install", "-q", *folders]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
