"""Where the figures were measured."""

import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any


def gather(*, quick: bool) -> dict[str, Any]:
    """Machine, versions and commit."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "engine": _said("docker", "version", "--format", "{{.Server.Version}}"),
        "compose": _said("docker", "compose", "version", "--short"),
        "flatrun": version("flatrun-core"),
        "commit": _said("git", "-C", os.path.dirname(__file__), "rev-parse", "--short", "HEAD"),
        "load_average": os.getloadavg()[0],
        "quick": quick,
    }


def _cpu() -> str:
    with open("/proc/cpuinfo") as lines:
        return next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown"
        )


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
