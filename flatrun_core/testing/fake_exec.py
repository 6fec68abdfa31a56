"""The programs in the containers of an Engine in memory."""

from collections.abc import Callable
from dataclasses import dataclass

from flatrun_core.docker.containers import container_stopped
from flatrun_core.ports.programs import Completed
from flatrun_core.program_output import check_arguments
from flatrun_core.testing.fake_containers import FakeContainer


@dataclass(frozen=True, slots=True)
class ExecCall:
    """One call of ``exec``: the container's name, the arguments, the limit in seconds."""

    container: str
    args: tuple[str, ...]
    timeout: float

    def done(self, stdout: str = "", stderr: str = "", returncode: int = 0) -> Completed:
        """The answer of a program that printed this and ended."""
        return Completed(self.args, returncode, stdout, stdout + stderr)


class FakeExec(dict[str, Callable[[ExecCall], Completed]]):
    """Programs by name, as ``{"nginx": lambda call: call.done(stderr="syntax is ok")}``.

    They are in every container; one that is not in the table is not there, as in an image without
    it. An answer may raise: ``TimedOut`` for a program that takes too long.
    """

    def run(self, container: FakeContainer, args: tuple[str, ...], timeout: float) -> Completed:
        """Answer as the container would."""
        check_arguments(args)
        if container.state != "running":
            raise container_stopped()
        call = ExecCall(container.name, args, timeout)
        program = self.get(args[0])
        if program is None:
            return call.done(f'exec: "{args[0]}": executable file not found in $PATH\n', returncode=127)
        return program(call)
