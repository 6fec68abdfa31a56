"""From process start to the first answer of health, and memory at idle."""

import statistics
import subprocess
import sys
import time

from lib.report import Row
from lib.stage import Stage
from lib.timing import seconds

BARE = "import flask, flask_smorest, marshmallow, pluggy, docker, peewee, waitress"


def run(stage: Stage) -> list[Row]:
    """Five starts; the first makes the database and does not count."""
    stage.serve()
    stage.stop()
    starts, imports = [], []
    for _ in range(2 if stage.quick else 5):
        imports.append(seconds(lambda: subprocess.run([sys.executable, "-c", BARE], check=True)))
        starts.append(stage.serve())
        stage.stop()
    stage.serve()
    time.sleep(2 if stage.quick else 10)
    libraries = statistics.median(imports)
    return [
        Row(
            "process start to first health",
            statistics.median(starts),
            "s",
            1.5,
            "low",
            f"importing the libraries alone: {libraries:.2f} s",
        ),
        Row("memory at idle", stage.rss() / 2**20, "MiB", 100 * 1e6 / 2**20, "low"),
    ]
