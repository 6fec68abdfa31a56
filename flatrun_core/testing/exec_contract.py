"""What every ``Engine`` must do with programs in containers, as a suite beside ``docker_contract``.

A subclass gives the fixture ``door``, whose image has a shell that ``exec`` really runs.
"""

import threading

import pytest

from flatrun_core.errors import Conflict, Invalid, NotFound, TimedOut
from flatrun_core.ports.docker import Container
from flatrun_core.ports.programs import Completed
from flatrun_core.testing.docker_door import PATIENCE, SLEEPER, DockerDoor


def shell(door: DockerDoor, container: Container, script: str, timeout: float = 20.0) -> Completed:
    """Run a script in a container."""
    return door.engine.exec(container.id, ["sh", "-c", script], timeout=timeout)


class ExecContract:
    """What ``Engine.exec`` must do."""

    def test_tells_what_a_program_printed_and_how_it_ended(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        script = "echo one; sleep 0.2; echo two é >&2; sleep 0.2; echo three; exit 3"
        done = shell(door, container, script)
        assert done == Completed(("sh", "-c", script), 3, "one\nthree\n", "one\ntwo é\nthree\n")

    def test_a_silent_program_has_no_output(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        done = shell(door, container, "true")
        assert (done.returncode, done.stdout, done.output) == (0, "", "")

    def test_arguments_arrive_as_they_are(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        args = [
            "sh",
            "-c",
            'for text; do printf "%s|" "$text"; done',
            "sh",
            "a b",
            "",
            "$HOME",
            "'\"\n",
            "é;",
        ]
        assert door.engine.exec(container.id, args, timeout=20.0).stdout == "a b||$HOME|'\"\n|é;|"

    def test_a_program_gets_no_input(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        assert shell(door, container, "cat; echo end").stdout == "end\n"

    def test_streams_never_meet_within_a_line(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        script = "printf he; sleep 0.2; echo err >&2; sleep 0.2; echo llo; printf end"
        assert shell(door, container, script).output == "err\nhello\nend"

    def test_colour_is_left_out(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        assert shell(door, container, r"printf '\033[1;31mred\033[0m\n'").output == "red\n"

    def test_much_output_is_cut_in_the_middle(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        script = "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last"
        done = shell(door, container, script)
        assert done.returncode == 0
        for text in (done.stdout, done.output):
            assert text.startswith("first\nxxx")
            assert text.endswith("xxx\nlast\n")
            assert "bytes left out" in text
            assert len(text) <= (1 << 20) + 100

    @pytest.mark.parametrize("program", ["no-such-program", "/no/such/program"])
    def test_a_program_that_the_image_lacks_ends_with_a_reason(self, door: DockerDoor, program: str) -> None:
        _, container = door.up(SLEEPER)
        done = door.engine.exec(container.id, [program, "-t"], timeout=20.0)
        assert done.returncode in (126, 127)
        assert program in done.output

    @pytest.mark.parametrize("script", ["sleep 60", "while :; do echo more; sleep 0.02; done"])
    def test_what_takes_too_long_is_not_waited_for(self, door: DockerDoor, script: str) -> None:
        _, container = door.up(SLEEPER)
        with pytest.raises(TimedOut) as caught:
            shell(door, container, f"echo begun; {script}", timeout=1.0)
        assert caught.value.details["output"].startswith("begun\n")

    def test_programs_at_once_do_not_mix(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        found: dict[int, str] = {}

        def run(number: int) -> None:
            found[number] = shell(door, container, f"for n in 1 2 3; do echo {number}; done").output

        threads = [threading.Thread(target=run, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert found == {number: f"{number}\n" * 3 for number in range(5)}

    @pytest.mark.parametrize("args", [[], ["sh", "-c", "a\0b"]])
    def test_what_can_be_no_arguments_is_refused(self, door: DockerDoor, args: list[str]) -> None:
        _, container = door.up(SLEEPER)
        with pytest.raises(Invalid):
            door.engine.exec(container.id, args, timeout=20.0)

    @pytest.mark.parametrize("ref", ["no-such-container", "0123456789ab"])
    def test_nothing_runs_in_an_unknown_container(self, door: DockerDoor, ref: str) -> None:
        with pytest.raises(NotFound) as caught:
            door.engine.exec(ref, ["true"], timeout=20.0)
        assert caught.value.code == "CONTAINER_NOT_FOUND"

    def test_nothing_runs_in_what_can_be_no_container(self, door: DockerDoor) -> None:
        with pytest.raises(Invalid):
            door.engine.exec("../../info", ["true"], timeout=20.0)

    @pytest.mark.parametrize("command", ["stop", "pause"])
    def test_nothing_runs_in_a_container_that_does_not_run(self, door: DockerDoor, command: str) -> None:
        project, container = door.up(SLEEPER)
        door.compose.run(project, command)
        with pytest.raises(Conflict) as caught:
            door.engine.exec(container.id, ["true"], timeout=20.0)
        assert caught.value.code == "CONTAINER_NOT_RUNNING"
        if command == "pause":
            door.compose.run(project, "unpause")
