"""Background processes that outlive the script, and their pid files.

A pid alone proves nothing: after a crash the number may belong to somebody else. The file keeps
the start time of the process too, and only a process with both is ours.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

START_TIME_FIELD = 19


@dataclass(frozen=True)
class Background:
    """A process that a script started."""

    pid: int
    started: int

    @classmethod
    def read(cls, path: Path) -> Background | None:
        """Return the process of a pid file while it still runs."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            process = cls(int(data["pid"]), int(data["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return process if process.alive else None

    @property
    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        return start_time(self.pid) == self.started

    def write(self, path: Path) -> None:
        """Save the pid file."""
        path.write_text(json.dumps({"pid": self.pid, "started": self.started}), encoding="utf-8")

    def stop(self, seconds: float) -> bool:
        """Ask the process to end and tell whether it did in time."""
        if self.alive:
            os.kill(self.pid, signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> bool:
        """End the process at once."""
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
        return self.wait(5)

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended."""
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def start(argv: Sequence[str | Path], output: Path, *, env: dict[str, str] | None = None) -> Background:
    """Start a process that goes on after the script, with its output in a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    # No lock or terminal of the caller may stay open in it: a pipe's reader would wait for ever.
    with output.open("ab") as stream:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    return Background(process.pid, start_time(process.pid) or 0)


def start_time(pid: int) -> int | None:
    """Return the kernel's start time of a process, None when it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The second field is the program's name, which may hold spaces and brackets.
    fields = text.rpartition(")")[2].split()
    if not fields or fields[0] in {"Z", "X"}:
        return None
    return int(fields[START_TIME_FIELD])


def log_tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])
