"""What tests of the core and end-to-end tests share."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flatrun_core
from flatrun_core.db import MigrationSet
from flatrun_core.ports.storage import StorageBackend

MIGRATE = """
import importlib, sys
from pathlib import Path
from flatrun_core.db import MigrationSet, open_database
url, backend, folder = sys.argv[1:]
module, _, name = backend.partition(":")
database = open_database(url, [getattr(importlib.import_module(module), name)()])
print(database.prepare([MigrationSet("shop", Path(folder))], migrate=True))
"""


@pytest.fixture
def migrating_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start another process that applies migrations and prints the names of those it applied.

    Called with the backend's class, the URL, the scripts and environment variables. Standard input is
    a pipe, so that a script that reads it hangs until it is killed; all of them end with the test.
    """
    started: list[subprocess.Popen[str]] = []
    root = str(Path(flatrun_core.__file__).parents[1])

    def start(
        backend: type[StorageBackend], url: str, scripts: MigrationSet, **environ: str
    ) -> subprocess.Popen[str]:
        name = f"{backend.__module__}:{backend.__qualname__}"
        process = subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url, name, str(scripts.directory)],
            env={**os.environ, "PYTHONPATH": root, **environ},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
