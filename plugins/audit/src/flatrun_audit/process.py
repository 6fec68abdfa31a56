"""Which process a request runs in, and whether that process is still there."""

import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_START: Final = 19  # the field of /proc/<pid>/stat after the name: clock ticks from boot to the start


@dataclass(frozen=True, slots=True)
class Process:
    """A process as nobody else ever is: ``started`` has the boot and the moment in it."""

    host: str
    pid: int
    started: str

    @property
    def gone(self) -> bool:
        """Whether it has ended; of another host's nothing is known, and False."""
        return self.host == _host() and self.started != _started(self.pid)

    @property
    def foreign(self) -> bool:
        """Whether it is another host's."""
        return self.host != _host()


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(_host(), pid, _own_start(pid))


@functools.lru_cache(maxsize=4)
def _own_start(pid: int) -> str:
    return _started(pid)


@functools.lru_cache(maxsize=1)
def _host() -> str:
    return socket.gethostname()[:255]


def _started(pid: int) -> str:
    """Empty when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{_boot()}-{fields[_START]}"


@functools.lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
