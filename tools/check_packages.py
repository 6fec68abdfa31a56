#!/usr/bin/env python3
"""Build every distribution, install the wheels into a clean environment and use them from elsewhere.

``--wheels FOLDER`` only builds them there, for ``pip install --find-links FOLDER 'flatrun-core[all]'``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE_TOP_LEVEL = {"flatrun_core", "hookspecs.py"}
PROBE = """
import json, tempfile
from flatrun_core.app import create_app
from flatrun_core.settings import SettingsSource
with tempfile.TemporaryDirectory() as folder:
    app = create_app(SettingsSource.read(None, {}, {"deployments_path": folder}))
    client = app.test_client()
    assert client.get("/api/health").get_json()["status"] == "ok"
    print(json.dumps({r.slug: str(r.status) for r in app.extensions["flatrun"].plugins}))
"""


def distributions() -> list[Path]:
    """The core first, then every plugin."""
    return [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/setup.cfg"))]


def build(folder: Path, into: Path) -> None:
    """Build one wheel, outside the tree's own build folder."""
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(into), str(folder))


def run(*command: str, cwd: Path = ROOT) -> str:
    """Run a command; its output, or an end with what it said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def check_contents(wheels: Path) -> None:
    """The core's wheel has exactly its two top-level names, and every wheel its typing marker."""
    for wheel in sorted(wheels.glob("flatrun_*.whl")):
        names = zipfile.ZipFile(wheel).namelist()
        top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
        if wheel.name.startswith("flatrun_core-") and top != CORE_TOP_LEVEL:
            sys.exit(f"{wheel.name} has the top-level names {sorted(top)}")
        if not any(name.endswith("py.typed") for name in names):
            sys.exit(f"{wheel.name} has no py.typed")


def main() -> int:
    """Build, look inside, install, use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheels = chosen.wheels or Path(folder) / "wheels"
        wheels.mkdir(parents=True, exist_ok=True)
        for distribution in distributions():
            build(distribution, wheels.resolve())
        check_contents(wheels)
        if chosen.wheels:
            return 0
        slugs = [path.name for path in distributions()[1:]]
        for extra, expected in (("", []), ("[all]", slugs)):
            environment = Path(folder) / f"env{len(extra)}"
            venv.create(environment, with_pip=True)
            python = str(environment / "bin" / "python")
            run(python, "-m", "pip", "install", "-q", "--find-links", str(wheels), f"flatrun-core{extra}")
            states = json.loads(run(python, "-W", "error", "-c", PROBE, cwd=Path(folder)).splitlines()[-1])
            if states != dict.fromkeys(expected, "active"):
                sys.exit(f"flatrun-core{extra}: {states}")
            print(f"flatrun-core{extra}: {', '.join(states) or 'core only'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
