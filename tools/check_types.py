#!/usr/bin/env python3
"""mypy, strict, over the core, every plugin and every example, one after the other."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Check everything; 1 when anything was found."""
    targets = [["flatrun_core", "hookspecs.py"]]
    targets += [
        [str(path.relative_to(ROOT))]
        for kind in ("plugins", "examples")
        for path in sorted((ROOT / kind).glob("*/src"))
    ]
    sources = [str(path) for kind in ("plugins", "examples") for path in sorted((ROOT / kind).glob("*/src"))]
    environment = {**os.environ, "MYPYPATH": os.pathsep.join([str(ROOT), *sources])}
    failed = 0
    for target in targets:
        print(f"mypy {' '.join(target)}", flush=True)
        command = [sys.executable, "-m", "mypy", "--config-file", "setup.cfg", *target]
        failed |= subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
