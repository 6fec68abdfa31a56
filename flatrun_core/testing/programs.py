"""A program runner for tests: nothing runs, what was asked for is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flatrun_core.ports.programs import Completed, Programs


@dataclass(frozen=True, slots=True)
class ProgramCall:
    """One call as it came."""

    args: tuple[str, ...]
    timeout: float
    cwd: Path | None
    env: Mapping[str, str]
    stdin: bytes | None


Answer = Callable[[ProgramCall], Completed | Exception | None]


class RecordingPrograms(Programs):
    """Answers calls by the first of ``answer``'s rules that fits; without one a program just succeeds.

    ``answer(("docker", "compose", "version"), stdout="2.26.1")`` fits calls that begin so;
    an ``error`` is raised.
    """

    def __init__(self) -> None:
        self.calls: list[ProgramCall] = []
        self._rules: list[Answer] = []

    def answer(
        self,
        beginning: Sequence[str],
        *,
        stdout: str = "",
        stderr: str = "",
        returncode: int = 0,
        error: Exception | None = None,
        times: int | None = None,
    ) -> None:
        """Answer calls whose arguments begin so; later rules come first, each at most ``times`` times."""
        left = [times]

        def rule(call: ProgramCall) -> Completed | Exception | None:
            if call.args[: len(beginning)] != tuple(beginning) or left[0] == 0:
                return None
            left[0] = None if left[0] is None else left[0] - 1
            return error or Completed(call.args, returncode, stdout, stdout + stderr)

        self._rules.insert(0, rule)

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        """Keep the call and answer it."""
        call = ProgramCall(tuple(args), timeout, cwd, dict(env or {}), stdin)
        self.calls.append(call)
        for rule in self._rules:
            found = rule(call)
            if isinstance(found, Exception):
                raise found
            if found is not None:
                return found
        return Completed(call.args, 0, "", "")
