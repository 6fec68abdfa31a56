"""Repeated measurements, taken in turns so that a busy moment hits both sides."""

import statistics
import subprocess
import time
from collections.abc import Callable

Action = Callable[[], object]


def seconds(action: Action) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def interleaved(repeat: int, *actions: Action) -> list[float]:
    """The median of each action, all of them run in turns."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(repeat):
        for times, action in zip(taken, actions, strict=True):
            times.append(seconds(action))
    return [statistics.median(times) for times in taken]


def ran(*command: str, cwd: str | None = None) -> str:
    """Run a command that must succeed; its output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr or done.stdout}")
    return done.stdout
