"""The door to Docker on the real Engine: the contract, and what only the real one can show."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from flatrun_core.docker import ComposeCli, DockerEngine, Watcher
from flatrun_core.docker.client import EngineClient
from flatrun_core.errors import Conflict, DockerUnavailable, Failed, TimedOut
from flatrun_core.ports.docker import Container, EngineEvent, LogLine, Project
from flatrun_core.programs import ProgramRunner
from flatrun_core.testing.docker_contract import ComposeContract, EngineContract
from flatrun_core.testing.docker_door import SLEEPER, DockerDoor, cleared, until
from flatrun_core.testing.exec_contract import ExecContract, shell


class RealDoor(DockerDoor):
    def write(self, container: Container, line: str, stream: str = "stdout") -> None:
        number = {"stdout": 1, "stderr": 2}[stream]
        command = ["docker", "exec", container.id, "sh", "-c", f'echo "$1" > /proc/1/fd/{number}', "sh", line]
        subprocess.run(command, check=True, timeout=30)


def door_to(host: str | None, folder: Path, image: str, names: Any, ports: Any) -> Iterator[DockerDoor]:
    engine = DockerEngine(EngineClient(host))
    watcher = Watcher(engine)
    watcher.start()
    compose = ComposeCli(ProgramRunner(), engine.touch, engine.client.host, engine.settle)
    door = RealDoor(engine, compose, image, folder, names, ports.next)
    try:
        yield from cleared(door)
    finally:
        watcher.stop()
        engine.close()


@pytest.fixture
def door(
    tmp_path: Path, engine: docker.APIClient, busybox_image: str, new_name: Callable[[], str], ports: Any
) -> Iterator[DockerDoor]:
    yield from door_to(None, tmp_path, busybox_image, new_name, ports)


@pytest.fixture
def private_door(
    tmp_path: Path, private_engine: Any, busybox_image: str, new_name: Callable[[], str], ports: Any
) -> Iterator[DockerDoor]:
    yield from door_to(private_engine.host, tmp_path, busybox_image, new_name, ports)


def script(command: str, **more: Any) -> str:
    """A service of this shell script; a dollar is doubled for compose."""
    text = command.replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f'web: {{IMAGE, command: ["sh", "-c", "{text}"]{extra}}}'


class TestRealEngine(EngineContract):
    def test_every_published_port_in_dockers_notation(self, door: RealDoor) -> None:
        tcp, udp = door.free_port(), door.free_port()
        ports = f'["{tcp}:80", "127.0.0.1:{udp}:53/udp", "90"]'
        project, _ = door.up(SLEEPER.replace("IMAGE", f"IMAGE, ports: {ports}, expose: ['99']"))
        found = door.of(project)[0].ports
        assert {f"0.0.0.0:{tcp}->80/tcp", f"127.0.0.1:{udp}->53/udp"} <= set(found)
        assert all("->" in port for port in found)
        assert any(port.endswith("->90/tcp") for port in found)

    def test_health_as_it_changes(self, door: RealDoor) -> None:
        check = (
            '{test: ["CMD", "test", "-e", "/ok"], interval: 1s, timeout: 2s, retries: 1, start_period: 60s}'
        )
        project, container = door.up(SLEEPER.replace("IMAGE", f"IMAGE, healthcheck: {check}"))
        assert container.health == "starting"
        subprocess.run(["docker", "exec", container.id, "touch", "/ok"], check=True)
        until(lambda: door.of(project)[0].health == "healthy", "health")
        subprocess.run(["docker", "exec", container.id, "rm", "/ok"], check=True)
        until(lambda: door.of(project)[0].health == "unhealthy", "illness")

    def test_a_crash_loop_and_a_paused_container(self, door: RealDoor) -> None:
        project = door.project(script("exit 7", restart="always"))
        door.compose.run(project, "up", "-d")
        until(lambda: door.of(project)[0].state == "restarting", "a restart")
        other, container = door.up(SLEEPER)
        door.compose.run(other, "pause")
        assert door.of(other)[0].state == "paused"
        with pytest.raises(Failed) as refused:
            door.engine.start(container.id)
        assert refused.value.code == "DOCKER_ERROR"
        with pytest.raises(Conflict) as running:
            door.engine.remove(container.id)
        assert running.value.code == "CONTAINER_RUNNING"
        door.compose.run(other, "unpause")

    def test_the_exit_code_of_what_ends_by_itself(self, door: RealDoor) -> None:
        project = door.project(script("exit 7"))
        door.compose.run(project, "up", "-d")
        until(lambda: door.of(project)[0].exit_code == 7, "the end")

    def test_what_happens_outside_is_seen_although_the_list_is_kept(self, door: RealDoor) -> None:
        project, container = door.up(SLEEPER)
        for command, state in ((["kill"], "exited"), (["start"], "running"), (["pause"], "paused")):
            subprocess.run(["docker", *command, container.id], check=True, capture_output=True)
            until(lambda state=state: door.of(project)[0].state == state, state)  # type: ignore[misc]
        subprocess.run(["docker", "rm", "-f", container.id], check=True, capture_output=True)
        until(lambda: door.of(project) == [], "removal")

    def test_callers_at_once_see_every_change(self, door: RealDoor) -> None:
        project, container = door.up(SLEEPER)
        stop, errors = threading.Event(), []

        def look() -> None:
            while not stop.is_set():
                try:
                    door.engine.containers()
                except Exception as exc:  # noqa: BLE001
                    errors.append(exc)

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            door.engine.stop(container.id)
            assert door.of(project)[0].state == "exited"
            door.engine.start(container.id)
            assert door.of(project)[0].state == "running"
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == []

    def test_stopping_waits_for_the_containers_own_grace(self, door: RealDoor) -> None:
        # Longer than the Engine's usual ten seconds, and far from the end of the grace on a busy machine.
        trap = "trap 'sleep 11; exit 5' TERM; echo ready; while true; do sleep 0.1; done"
        project, container = door.up(script(trap, stop_grace_period="60s"))
        until(lambda: door.engine.logs(container.id), "the trap")
        door.engine.stop(container.id)
        assert door.of(project)[0].exit_code == 5

    def test_statistics(self, door: RealDoor) -> None:
        _, container = door.up(SLEEPER)
        stats = door.engine.stats(container.id)
        assert stats["memory_stats"]
        assert stats["cpu_stats"]


class TestRealLogs:
    def lines(self, door: RealDoor, container: Container, count: int) -> list[LogLine]:
        def enough() -> list[LogLine] | None:
            found = door.engine.logs(container.id)
            return found if len(found) >= count else None

        return until(enough, f"{count} lines")  # type: ignore[no-any-return]

    @pytest.mark.parametrize(
        ("driver", "letter", "tty"),
        [("json-file", "x", "true"), ("json-file", "x", "false"), ("local", "€", "false")],
    )
    def test_lines_that_the_engine_keeps_in_pieces(
        self, door: RealDoor, driver: str, letter: str, tty: str
    ) -> None:
        # The Engine cuts after 16 KiB, where no character of three bytes ends; json-file spoils those.
        command = f"i=0; while [ $i -lt 20000 ]; do printf '{letter}'; i=$((i+1)); done; echo; echo short"
        _, container = door.up(script(f"{command}; sleep 1000", tty=tty, logging=f"{{driver: {driver}}}"))
        lines = self.lines(door, container, 2)
        assert [line.line for line in lines] == [letter * 20000, "short"]
        followed = door.engine.follow(container.id, since="2024-01-01T00:00:00Z")
        reading = iter(followed)
        assert [next(reading).line for _ in range(2)] == [letter * 20000, "short"]
        followed.close()

    def test_a_terminal_and_what_it_does_to_lines(self, door: RealDoor) -> None:
        _, container = door.up(script(r"printf '10%%\r20%%\n'; printf 'no end'; sleep 1000", tty="true"))
        subprocess.run(["docker", "kill", container.id], check=True, capture_output=True)
        assert [line.line for line in self.lines(door, container, 2)] == ["10%\r20%", "no end"]

    def test_the_last_words_without_an_end(self, door: RealDoor) -> None:
        _, container = door.up(script("printf 'last words'; printf oops >&2; exit 1"))
        found = self.lines(door, container, 2)
        assert {(line.stream, line.line) for line in found} == {("stdout", "last words"), ("stderr", "oops")}

    def test_bytes_that_are_no_text(self, door: RealDoor) -> None:
        _, container = door.up(script(r"printf 'a\377\200b\n'; sleep 1000"))
        assert self.lines(door, container, 1)[0].line == "a\ufffd\ufffdb"

    def test_times_are_exact(self, door: RealDoor) -> None:
        _, container = door.up(script("for i in 1 2 3 4 5 6 7 8; do echo $i; done; sleep 1000"))
        lines = self.lines(door, container, 8)
        assert all(len(line.timestamp) == len("2024-01-01T00:00:00.123456789Z") for line in lines)
        middle = lines[3].timestamp
        assert door.engine.logs(container.id, since=middle)[0].line == "4"
        followed = door.engine.follow(container.id, since=middle)
        assert next(iter(followed)).line == "5"
        followed.close()

    def test_nothing_is_lost_or_doubled_when_following_goes_on(self, door: RealDoor) -> None:
        _, container = door.up(script("i=0; while true; do echo $i; i=$((i+1)); usleep 300; done"))
        seen: list[LogLine] = [self.lines(door, container, 1)[0]]
        for _ in range(4):
            followed = door.engine.follow(container.id, since=seen[-1].timestamp)
            for line in followed:
                seen.append(line)
                if len(seen) % 200 == 0:
                    break
            followed.close()
        numbers = [int(line.line) for line in seen]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    @pytest.mark.parametrize("driver", ["json-file", "local"])
    def test_drivers_that_can_be_read(self, door: RealDoor, driver: str) -> None:
        _, container = door.up(script("echo hello; sleep 1000", logging=f"{{driver: {driver}}}"))
        assert self.lines(door, container, 1)[0].line == "hello"

    def test_a_driver_that_keeps_nothing(self, door: RealDoor) -> None:
        _, container = door.up(script("echo hello; sleep 1000", logging="{driver: none}"))
        for call in (door.engine.logs, door.engine.follow):
            with pytest.raises(Failed, match="'none' keeps no log") as caught:
                call(container.id)
            assert caught.value.code == "LOGS_UNAVAILABLE"

    def test_an_idle_follower_outlives_every_limit_and_ends_at_once(self, door: RealDoor) -> None:
        _, container = door.up(SLEEPER)
        before = _connections()
        followed = door.engine.follow(container.id)
        lines: list[LogLine] = []
        reader = threading.Thread(target=lambda: lines.extend(followed))
        reader.start()
        time.sleep(0.9)
        assert reader.is_alive()
        door.write(container, "still here")
        until(lambda: lines, "a line")
        followed.close()
        reader.join(5)
        assert not reader.is_alive()
        until(lambda: _connections() <= before, "the end of the Engine's side")


def _connections() -> int:
    """How many connections this process has open."""
    links = (str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())
    return sum(1 for link in links if link.startswith("socket:"))


class TestRealExec(ExecContract):
    def test_a_container_that_stops_ends_what_runs_in_it(self, door: RealDoor) -> None:
        _, container = door.up(SLEEPER)
        results: list[Any] = []
        script = "echo > /begun; sleep 60"
        thread = threading.Thread(target=lambda: results.append(shell(door, container, script)))
        thread.start()
        until(lambda: shell(door, container, "test -e /begun").returncode == 0, "the program's beginning")
        door.compose.run(door.made[0], "kill")
        thread.join(10)
        assert [done.returncode for done in results] == [137]

    def test_a_program_that_closes_its_output_is_waited_for(self, door: RealDoor) -> None:
        _, container = door.up(SLEEPER)
        assert shell(door, container, "exec >&- 2>&-; sleep 0.3; exit 5").returncode == 5

    def test_one_that_may_not_be_run_ends_with_a_reason(self, door: RealDoor) -> None:
        _, container = door.up(SLEEPER)
        done = door.engine.exec(container.id, ["/etc/passwd"], timeout=20.0)
        assert done.returncode == 126
        assert "permission denied" in done.output

    def test_no_connection_is_left_by_what_took_too_long(self, door: RealDoor) -> None:
        _, container = door.up(SLEEPER)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(5):
            with pytest.raises(TimedOut):
                shell(door, container, "sleep 5", timeout=0.1)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


class TestRealCompose(ComposeContract):
    def test_it_ends_with_all_it_started_at_its_limit(self, door: RealDoor) -> None:
        project, _ = door.up(SLEEPER)
        with pytest.raises(TimedOut) as caught:
            door.compose.run(project, "logs", "--follow", timeout=0.8)
        assert "output" in caught.value.details
        processes = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True)
        assert project.name not in processes.stdout

    def test_a_configuration_needs_no_engine(self, tmp_path: Path) -> None:
        compose = ComposeCli(ProgramRunner(), lambda: None, f"unix://{tmp_path}/none.sock")
        (tmp_path / "compose.yml").write_text("services: {web: {image: x}}\n")
        project = Project("p", tmp_path, (tmp_path / "compose.yml",))
        assert compose.config(project)["services"]["web"]["image"] == "x"
        with pytest.raises(DockerUnavailable) as caught:
            compose.run(project, "up", "-d")
        assert caught.value.details["output"]

    def test_a_service_is_built(self, door: RealDoor) -> None:
        project = door.project('web: {build: ., image: NAME, init: true, command: ["cat", "/made"]}')
        text = project.files[0].read_text().replace("NAME", f"{project.name}-image")
        project.files[0].write_text(text)
        dockerfile = f"FROM {door.image}\nRUN echo built > /made\n"
        (project.directory / "Dockerfile").write_text(dockerfile)
        try:
            door.compose.run(project, "up", "-d", "--build")
            container = door.of(project)[0]
            assert door.engine.image_exists(f"{project.name}-image")
            until(lambda: door.engine.logs(container.id), "a line")
            assert door.engine.logs(container.id)[0].line == "built"
        finally:
            door.clear()
            subprocess.run(["docker", "rmi", "-f", f"{project.name}-image"], check=True, capture_output=True)
        assert not door.engine.image_exists(f"{project.name}-image")

    def test_a_port_that_a_program_of_the_host_has(self, door: RealDoor) -> None:
        import socket

        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            with pytest.raises(Conflict, match=f"Port {port} is already in use") as caught:
                door.up(SLEEPER.replace("IMAGE", f'IMAGE, ports: ["127.0.0.1:{port}:80"]'))
        assert caught.value.code == "PORT_IN_USE"
        container = door.of(door.made[-1])[0]
        assert container.state == "created"

    def test_a_secret_is_not_in_what_was_printed(self, door: RealDoor) -> None:
        project = door.project('web: {image: "${DB_PASSWORD}"}', env='DB_PASSWORD="not an image"\n')
        with pytest.raises(Failed) as caught:
            door.compose.run(project, "up", "-d")
        assert "not an image" not in str(caught.value.body())
        assert "********" in caught.value.details["output"]


# The client of the fixture's own looks for its Engine in docker-py's way, which leaves sockets open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestBadDays:
    def test_no_addresses_left(
        self, tmp_path: Path, start_private_engine: Any, busybox_image: str, new_name: Any, ports: Any
    ) -> None:
        engine = start_private_engine(address_pools=[{"base": "10.204.0.0/25", "size": 26}])
        engine.load(busybox_image)
        for door in door_to(engine.host, tmp_path, busybox_image, new_name, ports):
            made: list[str] = []
            while (failure := _error(door.engine.ensure_network, f"n{len(made)}")) is None:
                made.append(f"n{len(made)}")
            assert isinstance(failure, Failed)
            assert failure.code == "NETWORK_POOL_EXHAUSTED"
            assert "default-address-pools" in failure.message
            with pytest.raises(Failed, match="docker network prune") as up:
                door.up(SLEEPER)
            assert up.value.code == "NETWORK_POOL_EXHAUSTED"
            assert up.value.details["output"]
            door.engine.remove_network(made[0])
            door.compose.run(door.made[-1], "up", "-d")
            assert door.of(door.made[-1])[0].state == "running"

    @pytest.mark.parametrize("end", ["stop", "kill9"])
    def test_the_engine_goes_and_comes_back(
        self, private_door: RealDoor, private_engine: Any, end: str
    ) -> None:
        door = private_door
        events: list[EngineEvent] = []
        door.engine.subscribe(events.append)
        project, container = door.up(SLEEPER)
        followed = door.engine.follow(container.id)
        ended: list[Any] = []

        def read() -> None:
            try:
                ended.append(list(followed))
            except DockerUnavailable as exc:
                ended.append(exc)

        reader = threading.Thread(target=read)
        reader.start()
        getattr(private_engine, end)()
        until(lambda: any(event.action == "disconnected" for event in events), "the loss of the stream")
        reader.join(5)
        assert ended
        for call in (door.engine.containers, door.engine.info, lambda: door.engine.stop(container.id)):
            with pytest.raises(DockerUnavailable):
                call()
        with pytest.raises(DockerUnavailable):
            door.compose.run(project, "up", "-d")
        private_engine.start()
        until(lambda: events[-1].action != "disconnected", "the stream's return")
        assert door.of(project)[0].id == container.id
        door.compose.run(project, "up", "-d")
        assert door.of(project)[0].state == "running"
        subprocess.run(
            ["docker", "-H", private_engine.host, "kill", container.id], check=True, capture_output=True
        )
        until(lambda: door.of(project)[0].state == "exited", "an event after the return")

    def test_an_engine_that_hangs_is_not_waited_for(
        self, private_door: RealDoor, private_engine: Any
    ) -> None:
        door = private_door
        project, container = door.up(SLEEPER)
        pid = int((private_engine.folder / "d.pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            calls: list[Callable[[], Any]] = [
                lambda: door.engine.containers(max_age=0),
                lambda: door.engine.stop(container.id),
                lambda: door.engine.follow(container.id),
            ]
            started = time.monotonic()
            results: list[Any] = []
            threads = [
                threading.Thread(target=lambda call=call: results.append(_error(call))) for call in calls * 3
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert time.monotonic() - started < 25
            assert [type(result) for result in results] == [DockerUnavailable] * 9
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: door.of(project)[0].state == "running", "the Engine's return")


def _error(call: Callable[..., Any], *args: Any) -> Exception | None:
    try:
        call(*args)
    except Exception as exc:  # noqa: BLE001 - the test looks at it
        return exc
    return None
