"""The Docker in memory keeps the contract of the real one."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from flatrun_core.errors import Conflict, DockerUnavailable, Failed, Invalid, TimedOut
from flatrun_core.ports.docker import Container, EngineEvent
from flatrun_core.ports.programs import Completed
from flatrun_core.programs import ProgramRunner
from flatrun_core.testing.docker_contract import ComposeContract, EngineContract
from flatrun_core.testing.docker_door import SLEEPER, DockerDoor, cleared
from flatrun_core.testing.exec_contract import ExecContract
from flatrun_core.testing.fake_docker import ExecCall, FakeCompose, FakeEngine


class FakeDoor(DockerDoor):
    def write(self, container: Container, line: str, stream: str = "stdout") -> None:
        engine = self.engine
        assert isinstance(engine, FakeEngine)
        engine.write_log(container.id, line, stream)


@pytest.fixture
def fake_engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def door(tmp_path: Path, fake_engine: FakeEngine) -> Iterator[DockerDoor]:
    numbers = itertools.count(1)
    names, ports = (lambda: f"p{next(numbers)}"), (lambda: 20000 + next(numbers))
    runner = ProgramRunner(grace=0.2)
    fake_engine.programs["sh"] = lambda call: runner.run(call.args, timeout=call.timeout)
    yield from cleared(FakeDoor(fake_engine, FakeCompose(fake_engine), "test/image", tmp_path, names, ports))


class TestFakeEngine(EngineContract):
    def test_stopped_it_refuses_and_comes_back(self, door: DockerDoor, fake_engine: FakeEngine) -> None:
        project, container = door.up(SLEEPER)
        events: list[EngineEvent] = []
        fake_engine.subscribe(events.append)
        followed = fake_engine.follow(container.id)
        fake_engine.down = True
        for call in (fake_engine.containers, fake_engine.info, lambda: fake_engine.stop(container.id)):
            with pytest.raises(DockerUnavailable):
                call()
        with pytest.raises(DockerUnavailable):
            list(followed)
        with pytest.raises(DockerUnavailable) as caught:
            door.compose.run(project, "up", "-d")
        assert caught.value.details["output"]
        assert door.compose.config(project)["services"]
        fake_engine.down = False
        assert door.of(project)[0].state == "running"
        assert [event.action for event in events] == ["disconnected", "connected"]

    def test_an_ambiguous_short_id_is_refused(self, fake_engine: FakeEngine) -> None:
        for name in ("one", "two"):
            fake_engine.add(name).id = "abcd" + name.encode().hex().ljust(60, "0")
        fake_engine._containers = {c.id: c for c in fake_engine._containers.values()}
        with pytest.raises(Invalid):
            fake_engine.container("abcd")

    def test_a_container_crashes_and_its_health_changes(self, fake_engine: FakeEngine) -> None:
        events: list[EngineEvent] = []
        fake_engine.subscribe(events.append)
        container = fake_engine.add("one", has_healthcheck=True)
        assert fake_engine.container("one").health == "healthy"
        fake_engine.set_state("one", "running", health="unhealthy")
        assert fake_engine.container("one").health == "unhealthy"
        fake_engine.set_state("one", "exited", exit_code=3)
        assert fake_engine.container(container.id).exit_code == 3
        assert [e.action for e in events] == ["create", "start", "health_status", "die"]
        assert events[-1].attributes["exitCode"] == "3"

    def test_addresses_run_out(self, fake_engine: FakeEngine) -> None:
        fake_engine.address_ranges = len(fake_engine.networks())
        with pytest.raises(Failed) as caught:
            fake_engine.ensure_network("more")
        assert caught.value.code == "NETWORK_POOL_EXHAUSTED"

    def test_one_call_can_be_made_to_fail(self, fake_engine: FakeEngine) -> None:
        fake_engine.fail_next("networks", Failed("no"))
        with pytest.raises(Failed):
            fake_engine.networks()
        assert fake_engine.networks()


class TestFakeExec(ExecContract):
    def test_the_table_answers_and_calls_are_kept(self, fake_engine: FakeEngine) -> None:
        asked: list[ExecCall] = []

        def nginx(call: ExecCall) -> Completed:
            asked.append(call)
            return call.done(stderr="bad\n", returncode=1)

        fake_engine.programs["nginx"] = nginx
        container = fake_engine.add("edge")
        done = fake_engine.exec("edge", ["nginx", "-t"], timeout=5.0)
        assert done == Completed(("nginx", "-t"), 1, "", "bad\n")
        assert asked == [ExecCall("edge", ("nginx", "-t"), 5.0)]
        assert fake_engine.calls[-1] == ("exec", "edge", "nginx", "-t")
        fake_engine.set_state(container.id, "restarting")
        with pytest.raises(Conflict):
            fake_engine.exec("edge", ["nginx", "-t"], timeout=5.0)


class TestFakeCompose(ComposeContract):
    def test_commands_can_be_made_to_fail(self, door: DockerDoor) -> None:
        compose = door.compose
        assert isinstance(compose, FakeCompose)
        project = door.project(SLEEPER)
        compose.fail_next("all predefined address pools have been fully subnetted", command="up")
        compose.fail_next(error=TimedOut("too long"), command="stop")
        compose.fail_next("bad", command="config")
        with pytest.raises(Failed) as caught:
            compose.run(project, "up", "-d")
        assert caught.value.code == "NETWORK_POOL_EXHAUSTED"
        with pytest.raises(TimedOut):
            compose.run(project, "stop")
        with pytest.raises(Invalid):
            compose.config(project)
        compose.run(project, "up", "-d")
        assert compose.commands(project.name) == ["up", "stop", "config", "up"]
