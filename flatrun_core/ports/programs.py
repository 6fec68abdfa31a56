"""The one place that runs programs: an argument list, a time limit, never a shell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flatrun_core.services import ServiceKey


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended by itself. ``output`` is stdout and stderr as they came, without colour."""

    args: tuple[str, ...]
    returncode: int
    stdout: str
    output: str


class Programs(Protocol):
    """Runs programs. A missing one raises ``Unavailable``, one over its limit ``TimedOut``."""

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        """Run to the end.

        ``env`` is added to a minimal environment; ``timeout`` is in seconds, after which the whole
        process group is ended. Output beyond 1 MiB is cut in the middle.
        """


PROGRAMS: ServiceKey[Programs] = ServiceKey("programs", "core")
