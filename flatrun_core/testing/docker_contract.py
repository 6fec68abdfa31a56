"""What every ``Engine`` and ``Compose`` must do, as suites that the fakes and the real ones inherit.

A subclass gives the fixture ``door``; each test makes compose projects in a folder of its own.
"""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.errors import Conflict, Failed, FlatrunError, Invalid, NotFound
from flatrun_core.ports.docker import Container, EngineEvent, LogLine, Project
from flatrun_core.testing.docker_door import PATIENCE, SLEEPER, DockerDoor, until


class EngineContract:
    """What an ``Engine`` must do."""

    def test_tells_what_it_is(self, door: DockerDoor) -> None:
        info = door.engine.info()
        assert info.version
        assert info.api_version.startswith("1.")
        assert info.cgroup_version in ("1", "2")
        assert info.cpus > 0
        assert info.memory > 0

    def test_lists_a_running_container(self, door: DockerDoor) -> None:
        port = door.free_port()
        project, _ = door.up(f'web: {{IMAGE, command: ["sleep", "1000"], ports: ["127.0.0.1:{port}:80"]}}')
        (container,) = door.of(project)
        assert (container.service, container.number, container.oneoff) == ("web", 1, False)
        assert (container.name, container.image) == (f"{project.name}-web-1", door.image)
        assert (container.state, container.health, container.exit_code) == ("running", "none", None)
        assert container.status.startswith("Up")
        assert container.created.tzinfo is not None
        assert container.ports == (f"127.0.0.1:{port}->80/tcp",)
        assert container.networks == (f"{project.name}_default",)

    def test_tells_how_a_container_ended(self, door: DockerDoor) -> None:
        project, container = door.up(SLEEPER)
        door.engine.stop(container.id)
        (ended,) = door.of(project)
        assert ended.state == "exited"
        assert ended.exit_code is not None
        assert ended.ports == ()
        assert ended.health == "none"

    def test_actions_may_be_repeated(self, door: DockerDoor) -> None:
        project, container = door.up(SLEEPER)
        states = {"start": "running", "stop": "exited"}
        for action in ("start", "stop", "stop", "start"):
            getattr(door.engine, action)(container.id)
            assert door.of(project)[0].state == states[action]
        door.engine.restart(container.id)
        assert door.of(project)[0].state == "running"

    def test_removes_a_stopped_container_only(self, door: DockerDoor) -> None:
        project, container = door.up(SLEEPER)
        with pytest.raises(Conflict) as caught:
            door.engine.remove(container.id)
        assert caught.value.code == "CONTAINER_RUNNING"
        door.engine.stop(container.id)
        door.engine.remove(container.id)
        assert door.of(project) == []

    def test_finds_a_container_by_id_short_id_and_name(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        for ref in (container.id, container.id[:12], container.name):
            assert door.engine.container(ref).id == container.id

    @pytest.mark.parametrize("ref", ["no-such-container", "0123456789ab", "0" * 64])
    @pytest.mark.parametrize(
        "method", ["container", "start", "stop", "restart", "remove", "logs", "follow", "inspect"]
    )
    def test_an_unknown_container_is_not_found(self, door: DockerDoor, method: str, ref: str) -> None:
        with pytest.raises(NotFound) as caught:
            getattr(door.engine, method)(ref)
        assert caught.value.code == "CONTAINER_NOT_FOUND"

    @pytest.mark.parametrize("ref", ["", "..", "../../info", "a b", "-f", "a\n", "a?x=1", "é", "a" * 256])
    def test_what_can_be_no_container_is_refused(self, door: DockerDoor, ref: str) -> None:
        for method in ("container", "start", "remove", "logs", "inspect"):
            with pytest.raises(Invalid):
                getattr(door.engine, method)(ref)

    @pytest.mark.parametrize("name", ["", "..", "a/b", "-f", "a\n", "a" * 256])
    def test_what_can_be_no_network_is_refused(self, door: DockerDoor, name: str) -> None:
        for method in ("ensure_network", "remove_network"):
            with pytest.raises(Invalid):
                getattr(door.engine, method)(name)

    def test_reads_both_streams_of_a_log_in_order(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        for number in range(4):
            door.write(container, f"line {number} é", "stderr" if number % 2 else "stdout")
        lines = until(lambda: _at_least(4, door.engine.logs(container.id)), "four lines")
        assert [line.line for line in lines] == [f"line {number} é" for number in range(4)]
        assert [line.stream for line in lines] == ["stdout", "stderr"] * 2
        assert [line.timestamp for line in lines] == sorted(line.timestamp for line in lines)
        assert door.engine.logs(container.id, tail=2) == lines[2:]
        assert door.engine.logs(container.id, tail=0) == []
        assert door.engine.logs(container.id, since=lines[2].timestamp) == lines[2:]
        assert door.engine.logs(container.id, until=lines[1].timestamp) == lines[:2]

    @pytest.mark.parametrize("time", ["yesterday", "2024-01-01", "2024-13-01T00:00:00Z", "10m", ""])
    def test_a_time_that_is_none_is_refused(self, door: DockerDoor, time: str) -> None:
        _, container = door.up(SLEEPER)
        with pytest.raises(Invalid):
            door.engine.logs(container.id, since=time)
        with pytest.raises(Invalid):
            door.engine.follow(container.id, since=time)

    def test_follows_a_log_until_the_container_stops(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        door.write(container, "before")
        seen = until(lambda: door.engine.logs(container.id), "a line")
        followed = door.engine.follow(container.id, since=seen[0].timestamp)
        lines = iter(followed)
        door.write(container, "after", "stderr")
        line = next(lines)
        assert (line.line, line.stream) == ("after", "stderr")
        assert line.timestamp > seen[0].timestamp
        door.engine.stop(container.id)
        assert list(lines) == []
        followed.close()

    def test_follows_from_now_on(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        door.write(container, "old")
        until(lambda: door.engine.logs(container.id), "a line")
        followed = door.engine.follow(container.id)
        door.write(container, "new")
        assert next(iter(followed)).line == "new"
        followed.close()

    def test_a_follower_is_ended_from_another_thread(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        followed = door.engine.follow(container.id)
        lines: list[LogLine] = []
        reader = threading.Thread(target=lambda: lines.extend(followed))
        reader.start()
        time.sleep(0.1)
        followed.close()
        followed.close()
        reader.join(PATIENCE)
        assert not reader.is_alive()
        assert lines == []

    def test_following_a_stopped_container_ends(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        door.engine.stop(container.id)
        assert list(door.engine.follow(container.id)) == []

    def test_inspects_a_container(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        document = door.engine.inspect(container.name)
        assert document["Id"] == container.id
        assert document["State"]["Running"] is True
        assert document["State"]["Pid"] > 0

    def test_makes_a_network_once(self, door: DockerDoor) -> None:
        name = door.new_name()
        try:
            assert door.engine.ensure_network(name) is True
            assert door.engine.ensure_network(name) is False
            assert door.engine.networks()[name]["Driver"] == "bridge"
        finally:
            door.engine.remove_network(name)
        assert name not in door.engine.networks()
        door.engine.remove_network(name)

    def test_connects_a_container_under_an_alias(self, door: DockerDoor) -> None:
        name = door.new_name()
        project, container = door.up(SLEEPER)
        door.engine.ensure_network(name)
        try:
            for _ in range(2):
                door.engine.connect_network(name, container.id, ["alias-of-it"])
            assert name in door.of(project)[0].networks
            joined = door.engine.inspect(container.id)["NetworkSettings"]["Networks"][name]
            assert "alias-of-it" in joined["Aliases"]
            with pytest.raises(Conflict) as caught:
                door.engine.remove_network(name)
            assert caught.value.code == "NETWORK_IN_USE"
        finally:
            door.compose.run(project, "down", "-t", "0")
            door.engine.remove_network(name)

    def test_connecting_what_is_not_there_is_not_found(self, door: DockerDoor) -> None:
        _, container = door.up(SLEEPER)
        with pytest.raises(NotFound) as caught:
            door.engine.connect_network(door.new_name(), container.id, [])
        assert caught.value.code == "NETWORK_NOT_FOUND"

    def test_lists_the_volumes_of_a_project(self, door: DockerDoor) -> None:
        service = 'web: {IMAGE, command: ["sleep", "1000"], volumes: ["data:/data"]}'
        project, _ = door.up(service, rest="volumes: {data: {}}")
        assert door.engine.volumes(project.name) == [f"{project.name}_data"]
        assert door.engine.volumes(door.new_name()) == []

    def test_knows_which_images_there_are(self, door: DockerDoor) -> None:
        assert door.engine.image_exists(door.image)

    def test_tells_events_until_unsubscribed(self, door: DockerDoor) -> None:
        events: list[EngineEvent] = []
        stop = door.engine.subscribe(events.append)
        _, container = door.up(SLEEPER)
        door.engine.stop(container.id)
        until(lambda: "die" in _actions(events, container), "the event of the end")
        expected = ["create", "start", "die"]
        assert [action for action in _actions(events, container) if action in expected] == expected
        started = next(e for e in events if e.action == "start" and e.container_id == container.id)
        assert started.attributes["name"] == container.name
        assert started.attributes["com.docker.compose.service"] == "web"
        assert started.time > 0
        stop()
        stop()
        seen = len(events)
        door.engine.start(container.id)
        assert len(events) == seen


class ComposeContract:
    """What a ``Compose`` must do."""

    def test_tells_its_version(self, door: DockerDoor) -> None:
        assert door.compose.version()[0].isdigit()

    def test_commands_may_be_repeated(self, door: DockerDoor) -> None:
        project = door.project(SLEEPER)
        for command in (("up", "-d"), ("up", "-d"), ("stop", "-t", "0"), ("stop",), ("up", "-d")):
            done = door.compose.run(project, *command)
            assert done.returncode == 0
            assert "\x1b" not in done.output
        assert door.of(project)[0].state == "running"
        for _ in range(2):
            door.compose.run(project, "down", "-t", "0")
        assert door.of(project) == []

    def test_what_a_command_did_is_listed_at_once(self, door: DockerDoor) -> None:
        project, _ = door.up(f"{SLEEPER}\n{SLEEPER.replace('web', 'job')}")
        for command, state in (
            ("stop", "exited"),
            ("start", "running"),
            ("kill", "exited"),
            ("up", "running"),
        ):
            door.compose.run(project, *((command, "-d") if command == "up" else (command,)))
            assert [c.state for c in door.of(project)] == [state, state]

    def test_makes_replicas_and_removes_orphans(self, door: DockerDoor) -> None:
        two = f"{SLEEPER.replace('IMAGE', 'IMAGE, scale: 2')}\n{SLEEPER.replace('web', 'job')}"
        project, _ = door.up(two)
        assert [(c.service, c.number) for c in door.of(project)] == [("job", 1), ("web", 1), ("web", 2)]
        text = project.files[0].read_text()
        project.files[0].write_text("\n".join(line for line in text.splitlines() if "job" not in line))
        door.compose.run(project, "up", "-d", "--remove-orphans")
        assert [c.service for c in door.of(project)] == ["web", "web"]

    def test_a_second_file_adds_to_the_first(self, door: DockerDoor) -> None:
        project = door.project(SLEEPER)
        port = door.free_port()
        over = project.directory / ".flatrun.override.yml"
        over.write_text(f'services: {{web: {{ports: ["127.0.0.1:{port}:80"]}}}}\n')
        both = Project(project.name, project.directory, (*project.files, over))
        door.compose.run(both, "up", "-d")
        assert door.of(project)[0].ports == (f"127.0.0.1:{port}->80/tcp",)

    def test_a_failure_carries_what_was_printed(self, door: DockerDoor) -> None:
        service = SLEEPER.replace("IMAGE", "IMAGE, networks: [gone]")
        project = door.project(service, rest="networks: {gone: {external: true}}")
        with pytest.raises(Failed) as caught:
            door.compose.run(project, "up", "-d")
        assert caught.value.code == "COMPOSE_FAILED"
        assert "gone" in caught.value.details["output"]
        assert str(project.directory) not in f"{caught.value.message}{caught.value.details['output']}"
        done = door.compose.run(project, "up", "-d", check=False)
        assert done.returncode != 0

    def test_a_port_that_is_taken_is_a_conflict(self, door: DockerDoor) -> None:
        port = door.free_port()
        service = f'web: {{IMAGE, command: ["sleep", "1000"], ports: ["127.0.0.1:{port}:80"]}}'
        door.up(service)
        with pytest.raises(Conflict) as caught:
            door.up(service)
        assert caught.value.code == "PORT_IN_USE"
        assert str(port) in caught.value.message

    def test_reads_values_from_the_environment_files(self, door: DockerDoor) -> None:
        service = 'web: {IMAGE, environment: {A: "${VALUE-none}", B: "${OWN-none}"}}'
        project = door.project(service, env='VALUE="given by the panel"\n')
        own = project.directory / ".env"
        own.write_text("OWN=the user's\nVALUE=less\n")

        def seen(*files: Path) -> Any:
            document = door.compose.config(replace(project, env_files=files))
            return document["services"]["web"]["environment"]

        assert seen(own, *project.env_files) == {"A": "given by the panel", "B": "the user's"}
        assert seen(*project.env_files, own) == {"A": "less", "B": "the user's"}
        assert seen(*project.env_files) == {"A": "given by the panel", "B": "none"}
        assert seen() == {"A": "less", "B": "the user's"}

    def test_shows_the_normalised_document(self, door: DockerDoor) -> None:
        project = door.project('web: {IMAGE, ports: ["8080:80"], environment: ["A=b"]}')
        document = door.compose.config(project)
        assert document["name"] == project.name
        web = document["services"]["web"]
        assert web["image"] == door.image
        assert web["environment"] == {"A": "b"}
        (port,) = web["ports"]
        assert (port["target"], str(port["published"]), port["protocol"]) == (80, "8080", "tcp")

    @pytest.mark.parametrize(
        "service", ["web: {}", "web: [1]", 'web: {IMAGE, ports: ["eighty"]}', "web: {IMAGE"], ids=range(4)
    )
    def test_a_refused_document_is_invalid(self, door: DockerDoor, service: str) -> None:
        project = door.project(service)
        with pytest.raises(Invalid) as caught:
            door.compose.config(project)
        assert caught.value.code == "COMPOSE_INVALID"
        assert caught.value.details["output"]
        assert str(project.directory) not in caught.value.message

    def test_other_commands_meet_a_refused_document_too(self, door: DockerDoor) -> None:
        with pytest.raises(FlatrunError) as caught:
            door.compose.run(door.project("web: {}"), "up", "-d")
        assert caught.value.code == "COMPOSE_FAILED"


def _at_least(count: int, lines: list[LogLine]) -> list[LogLine] | None:
    return lines if len(lines) >= count else None


def _actions(events: list[EngineEvent], container: Container) -> list[str]:
    return [event.action for event in events if event.container_id == container.id]
