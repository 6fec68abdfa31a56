"""The program runner: limits, output, input, and nothing left behind."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.errors import Failed, Invalid, TimedOut, Unavailable
from flatrun_core.ports.programs import Completed
from flatrun_core.program_output import OUTPUT_LIMIT, Bounded, plain
from flatrun_core.programs import ProgramRunner
from flatrun_core.testing.programs import RecordingPrograms


@pytest.fixture
def runner() -> ProgramRunner:
    return ProgramRunner(grace=0.2)


def shell(runner: ProgramRunner, script: str, *, timeout: float = 20, **more: object) -> Completed:
    return runner.run(["sh", "-c", script], timeout=timeout, **more)  # type: ignore[arg-type]


def python(runner: ProgramRunner, script: str, *, timeout: float = 20, **more: object) -> Completed:
    return runner.run([sys.executable, "-c", script], timeout=timeout, **more)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    end = time.monotonic() + 5
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


class TestOutput:
    def test_both_streams_in_order_and_stdout_alone(self, runner: ProgramRunner) -> None:
        script = "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three; exit 3"
        done = shell(runner, script)
        assert done == Completed(("sh", "-c", script), 3, "one\nthree\n", "one\ntwo\nthree\n")

    def test_streams_never_meet_within_a_line(self, runner: ProgramRunner) -> None:
        script = "printf 'he'; sleep 0.05; echo err >&2; sleep 0.05; echo llo; printf end"
        assert shell(runner, script).output == "err\nhello\nend"

    def test_colours_and_cursor_movements_are_left_out(self, runner: ProgramRunner) -> None:
        script = r"printf '\033[1;31mred\033[0m \033]0;title\007\033[2K\033[1Aup\n'"
        assert shell(runner, script).output == "red up\n"

    def test_bytes_that_are_no_text_are_replaced(self, runner: ProgramRunner) -> None:
        assert shell(runner, r"printf 'a\377b'").stdout == "a\ufffdb"

    def test_much_output_is_cut_in_the_middle(self, runner: ProgramRunner) -> None:
        size = 30 * OUTPUT_LIMIT
        script = (
            f"import sys; sys.stdout.write('first' + 'x' * {size} + 'last'); sys.stderr.write('e' * {size})"
        )
        done = python(runner, script)
        assert done.returncode == 0
        assert len(done.stdout) < OUTPUT_LIMIT + 100
        assert done.stdout.startswith("first")
        assert done.stdout.endswith("last")
        assert f"[... {size + 9 - OUTPUT_LIMIT} bytes left out ...]" in done.stdout
        assert len(done.output) < OUTPUT_LIMIT + 100

    @given(st.lists(st.binary(max_size=40)))
    def test_bounded_keeps_both_ends(self, pieces: list[bytes]) -> None:
        bounded, whole = Bounded(16), b"".join(pieces)
        for piece in pieces:
            bounded.add(piece)
        if len(whole) <= 16:
            assert bytes(bounded._head + bounded._tail) == whole
        else:
            assert (bytes(bounded._head), bytes(bounded._tail)) == (whole[:8], whole[-8:])
            assert bounded._cut == len(whole) - 16

    @given(st.text())
    def test_plain_text_is_left_alone(self, text: str) -> None:
        clean = text.replace("\x1b", "")
        assert plain(clean) == clean


class TestLimit:
    def test_the_whole_group_is_ended(self, runner: ProgramRunner) -> None:
        script = "sh -c 'sleep 100 & echo $!; trap \"\" TERM; while :; do sleep 0.1; done' & echo $!; wait"
        with pytest.raises(TimedOut, match="sh took longer than") as caught:
            shell(runner, script, timeout=0.5)
        pids = [int(line) for line in caught.value.details["output"].split()]
        assert len(pids) == 2
        assert all(gone(pid) for pid in pids)

    def test_a_program_may_clean_up_after_itself(self, tmp_path: Path) -> None:
        mark = tmp_path / "cleaned"
        with pytest.raises(TimedOut):
            shell(
                ProgramRunner(grace=5),
                f"trap 'touch {mark}; exit' TERM; while :; do sleep 0.05; done",
                timeout=0.3,
            )
        assert mark.exists()

    def test_what_it_left_running_does_not_hold_us_up(self, runner: ProgramRunner) -> None:
        done = shell(runner, "sleep 100 & echo $!")
        assert done.returncode == 0
        assert gone(int(done.stdout))

    def test_what_it_left_writing_does_not_hold_us_up(self, runner: ProgramRunner) -> None:
        assert shell(runner, "yes & echo done").returncode == 0

    def test_closed_streams_do_not_end_it(self, runner: ProgramRunner) -> None:
        started = time.monotonic()
        assert shell(runner, "exec >&- 2>&-; sleep 0.3; exit 4").returncode == 4
        assert time.monotonic() - started >= 0.3
        with pytest.raises(TimedOut):
            shell(runner, "exec >&- 2>&-; sleep 100", timeout=0.2)

    def test_a_program_ended_by_a_signal(self, runner: ProgramRunner) -> None:
        assert shell(runner, "kill -9 $$").returncode == -signal.SIGKILL


class TestStop:
    def test_what_runs_is_ended_and_nothing_starts_any_more(
        self, runner: ProgramRunner, tmp_path: Path
    ) -> None:
        script = "%s; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 0.05; done"
        files = [tmp_path / "polite", tmp_path / "deaf"]
        with ThreadPoolExecutor(2) as pool:
            polite = pool.submit(shell, runner, script.format(files[0]) % "true")
            deaf = pool.submit(shell, runner, script.format(files[1]) % 'trap "" TERM')
            until = time.monotonic() + 10
            while not all(file.exists() for file in files) and time.monotonic() < until:
                time.sleep(0.01)
            pids = [int(file.read_text()) for file in files]
            runner.stop()
            assert polite.result(timeout=10).returncode == -signal.SIGTERM
            assert deaf.result(timeout=10).returncode == -signal.SIGKILL
        assert all(gone(pid) for pid in pids)
        with pytest.raises(Unavailable, match="stopping"):
            shell(runner, "true")

    def test_nothing_to_end(self, runner: ProgramRunner) -> None:
        shell(runner, "true")
        runner.stop()


class TestSurroundings:
    def test_no_input_unless_given(self, runner: ProgramRunner) -> None:
        assert shell(runner, "cat; echo end").stdout == "end\n"

    def test_input_of_any_size_passes_both_ways(self, runner: ProgramRunner) -> None:
        data = b"0123456789abcdef" * (OUTPUT_LIMIT // 16)
        assert runner.run(["cat"], timeout=20, stdin=data).stdout == data.decode()
        assert shell(runner, "cat", stdin=b"").stdout == ""

    def test_input_that_nobody_reads(self, runner: ProgramRunner) -> None:
        assert shell(runner, "exec <&-; echo fine", stdin=b"x" * OUTPUT_LIMIT).stdout == "fine\n"

    def test_the_environment_is_minimal(self) -> None:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": "/h",
            "SECRET": "s",
            "COMPOSE_FILE": "x",
            "DOCKER_HOST": "d",
        }
        done = ProgramRunner(environ).run(["env"], timeout=5, env={"OURS": "1"})
        names = {line.partition("=")[0] for line in done.stdout.splitlines()}
        assert names == {"PATH", "HOME", "DOCKER_HOST", "OURS"}

    def test_a_path_and_a_home_are_always_there(self) -> None:
        done = ProgramRunner({}).run(["env"], timeout=5)
        assert {line.partition("=")[0] for line in done.stdout.splitlines()} == {"PATH", "HOME"}

    def test_no_descriptor_is_inherited(self, runner: ProgramRunner, tmp_path: Path) -> None:
        with (tmp_path / "secret").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            assert python(
                runner, "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
            ).stdout.startswith("[0, 1, 2, 3]")

    def test_it_has_no_terminal_and_a_session_of_its_own(self, runner: ProgramRunner) -> None:
        done = python(runner, "import os; print(os.getsid(0) == os.getpid())")
        assert done.stdout == "True\n"

    def test_the_folder(self, runner: ProgramRunner, tmp_path: Path) -> None:
        assert runner.run(["pwd"], timeout=5, cwd=tmp_path).stdout.strip() == str(tmp_path.resolve())

    def test_nothing_of_us_stays_open(self, runner: ProgramRunner) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        shell(runner, "cat", stdin=b"x")
        with pytest.raises(TimedOut):
            shell(runner, "sleep 100", timeout=0.1)
        with pytest.raises(Unavailable):
            runner.run(["/no/such/program"], timeout=1, stdin=b"x")
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


class TestRefusals:
    def test_a_missing_program(self, runner: ProgramRunner) -> None:
        with pytest.raises(Unavailable, match="no-such-program is not installed") as caught:
            runner.run(["no-such-program"], timeout=1)
        assert caught.value.code == "PROGRAM_MISSING"

    def test_a_program_that_may_not_be_run(self, runner: ProgramRunner, tmp_path: Path) -> None:
        (tmp_path / "tool").write_text("#!/bin/sh\n")
        with pytest.raises(Unavailable, match="tool is not installed or may not be run") as caught:
            runner.run([str(tmp_path / "tool")], timeout=1)
        assert str(tmp_path) not in caught.value.message

    def test_a_file_that_is_no_program(self, runner: ProgramRunner, tmp_path: Path) -> None:
        (tmp_path / "tool").write_text("\0\0")
        (tmp_path / "tool").chmod(0o755)
        with pytest.raises(Failed, match="tool cannot be started"):
            runner.run([str(tmp_path / "tool")], timeout=1)

    def test_a_missing_folder(self, runner: ProgramRunner, tmp_path: Path) -> None:
        with pytest.raises(Failed, match="its folder is missing") as caught:
            runner.run(["true"], timeout=1, cwd=tmp_path / "gone")
        assert str(tmp_path) not in caught.value.message

    @pytest.mark.parametrize("args", [["echo", "a\0b"], [], ["echo", "\ud800"]])
    def test_arguments_that_cannot_be_passed(self, runner: ProgramRunner, args: list[str]) -> None:
        with pytest.raises(Invalid):
            runner.run(args, timeout=1)

    def test_an_environment_that_cannot_be_passed(self, runner: ProgramRunner) -> None:
        with pytest.raises(Invalid):
            runner.run(["true"], timeout=1, env={"A": "\0"})

    def test_too_many_arguments(self, runner: ProgramRunner) -> None:
        with pytest.raises(Failed, match="true cannot be started"):
            runner.run(["true", "x" * (4 << 20)], timeout=1)


class TestRecordingPrograms:
    def test_answers_by_the_beginning_and_keeps_calls(self) -> None:
        programs = RecordingPrograms()
        programs.answer(("git",), stdout="1", times=1)
        programs.answer(("git", "push"), error=TimedOut("late"))
        assert programs.run(["git", "log"], timeout=3).stdout == "1"
        assert programs.run(["git", "log"], timeout=3).stdout == ""
        with pytest.raises(TimedOut):
            programs.run(["git", "push", "now"], timeout=3)
        assert [call.args for call in programs.calls] == [
            ("git", "log"),
            ("git", "log"),
            ("git", "push", "now"),
        ]
