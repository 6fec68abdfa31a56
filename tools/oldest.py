#!/usr/bin/env python3
"""Install the oldest version of every dependency that setup.cfg files declare, for tox."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOWER = re.compile(r"([A-Za-z0-9_.\-\[\]]+)\s*>=\s*([0-9.]+)")


def pins() -> list[str]:
    """``name==lowest`` for each dependency outside this repository, the highest of several lowers."""
    lowest: dict[str, tuple[int, ...]] = {}
    for path in [ROOT / "setup.cfg", *sorted(ROOT.glob("plugins/*/setup.cfg"))]:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(path)
        for name, version in LOWER.findall(parser["options"].get("install_requires", "")):
            if not name.startswith("flatrun"):
                parts = tuple(int(part) for part in version.split("."))
                key = name.lower().replace("_", "-")
                lowest[key] = max(lowest.get(key, ()), parts)
    return [f"{name}=={'.'.join(map(str, parts))}" for name, parts in sorted(lowest.items())]


if __name__ == "__main__":
    sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", "-q", *pins()], check=False).returncode)
