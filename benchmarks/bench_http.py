"""Health and an authenticated read against a bare Flask application, both on waitress."""

import http.client
import multiprocessing
import statistics
import subprocess
import sys
import time
from pathlib import Path

from lib.report import Row
from lib.stage import Stage, free_port

BARE = """
import sys
from flask import Flask
from waitress import serve
app = Flask(__name__)
@app.get("/api/health")
def health():
    return {"status": "ok", "version": "0", "uptime": "0s"}
serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=16, _quiet=True)
"""
WORKERS = 2


def run(stage: Stage) -> list[Row]:
    """Rounds in turns: bare, health, read."""
    stage.serve()
    script = stage.config.parent / "bare.py"
    script.write_text(BARE)
    port = free_port()
    bare = subprocess.Popen([sys.executable, str(script), str(port)])
    try:
        wait_for(port)
        return measure(stage, port)
    finally:
        bare.terminate()
        bare.wait(10)


def measure(stage: Stage, bare_port: int) -> list[Row]:
    """Requests a second of each side, the median of the rounds."""
    rounds, length = (2, 1.0) if stage.quick else (5, 3.0)
    sides = {
        "bare": (bare_port, "/api/health", ""),
        "health": (stage.port, "/api/health", ""),
        "read": (stage.port, "/api/plugins", stage.key),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (port, path, key) in sides.items():
            rates[name].append(rate(port, path, key, length))
    bare, health, read = (statistics.median(rates[name]) for name in ("bare", "health", "read"))
    against = f"bare Flask on waitress: {bare:.0f}/s"
    return [
        Row("health, of bare Flask's rate", health / bare, "x", 0.5, "high", f"{health:.0f}/s; {against}"),
        Row("authenticated read, of its rate", read / bare, "x", 0.25, "high", f"{read:.0f}/s; {against}"),
    ]


def rate(port: int, path: str, key: str, length: float) -> float:
    """Requests a second from worker processes with kept connections."""
    with multiprocessing.Pool(WORKERS) as pool:
        counts = pool.starmap(_work, [(port, path, key, length)] * WORKERS)
    return sum(counts) / length


def _work(port: int, path: str, key: str, length: float) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    until, count = time.perf_counter() + length, 0
    while time.perf_counter() < until:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}")
        count += 1
    return count


def wait_for(port: int) -> None:
    """Until something listens."""
    for _ in range(200):
        try:
            _work(port, "/api/health", "", 0.01)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the bare application did not start")


if __name__ == "__main__":
    sys.exit(f"use {Path(__file__).with_name('run')}")
