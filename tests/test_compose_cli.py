"""Compose's arguments, its output and its failures."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.docker import ComposeCli
from flatrun_core.docker.compose import compose_failure
from flatrun_core.docker.refusals import NO_ADDRESSES_TEXT, engine_refusal, known_refusal
from flatrun_core.errors import (
    Conflict,
    DockerUnavailable,
    Failed,
    FlatrunError,
    Invalid,
    TimedOut,
    Unavailable,
)
from flatrun_core.ports.docker import Project
from flatrun_core.ports.programs import Completed
from flatrun_core.testing.programs import RecordingPrograms

V2, V1 = ("docker", "compose"), ("docker-compose",)
PLUGIN_MISSING = "docker: unknown command: docker compose\n\nRun 'docker --help' for more information\n"


@pytest.fixture
def programs() -> RecordingPrograms:
    recording = RecordingPrograms()
    recording.answer((*V2, "version", "--short"), stdout="2.26.1-4\n")
    return recording


@pytest.fixture
def touched() -> list[int]:
    return []


@pytest.fixture
def compose(programs: RecordingPrograms, touched: list[int]) -> ComposeCli:
    return ComposeCli(programs, lambda: touched.append(1))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project("shop", tmp_path, (tmp_path / "compose.yml", tmp_path / ".flatrun.override.yml"))


def commands(programs: RecordingPrograms) -> list[tuple[str, ...]]:
    return [call.args for call in programs.calls if "version" not in call.args]


class TestArguments:
    def test_of_a_command(self, compose: ComposeCli, programs: RecordingPrograms, project: Project) -> None:
        folder = str(project.directory)
        env = {"FLATRUN_UID": "1000"}
        with_env = Project(project.name, project.directory, project.files, env=env)
        compose.run(with_env, "up", "-d", "--remove-orphans", timeout=77)
        call = programs.calls[-1]
        assert call.args == (
            *(*V2, "--project-name", "shop", "--project-directory", folder),
            *("-f", f"{folder}/compose.yml", "-f", f"{folder}/.flatrun.override.yml"),
            *("--ansi", "never", "--progress", "plain", "up", "-d", "--remove-orphans"),
        )
        assert (call.timeout, call.cwd, call.stdin) == (77, project.directory, None)
        assert call.env["FLATRUN_UID"] == "1000"

    def test_which_compose_is_asked_once(
        self, compose: ComposeCli, programs: RecordingPrograms, project: Project
    ) -> None:
        for _ in range(3):
            compose.run(project, "ps")
        assert compose.version() == "2.26.1-4"
        assert len(programs.calls) == 4

    def test_the_environment_files_keep_their_order(
        self, compose: ComposeCli, programs: RecordingPrograms, project: Project
    ) -> None:
        files = (project.directory / ".env", project.directory / ".env.flatrun")
        for some in (files, files[::-1], files[:1], ()):
            compose.run(replace(project, env_files=some), "ps")
            assert _values(programs.calls[-1].args, "--env-file") == [str(file) for file in some]

    @pytest.mark.parametrize(
        ("version", "progress", "files"),
        [("v2.30.0", True, 2), ("2.19.9", False, 2), ("2.16.0", False, 1), ("5.0.1", True, 2)],
    )
    def test_older_versions_get_what_they_know(
        self, version: str, progress: bool, files: int, project: Project
    ) -> None:
        programs = RecordingPrograms()
        programs.answer((*V2, "version"), stdout=version)
        compose = ComposeCli(programs, lambda: None)
        both = (project.directory / ".env", project.directory / "own")
        for file in both:
            file.touch()
        compose.run(Project("p", project.directory, (), both), "ps")
        assert ("--progress" in programs.calls[-1].args) is progress
        assert len(_values(programs.calls[-1].args, "--env-file")) == files
        assert compose.version() == version.removeprefix("v")

    @pytest.mark.parametrize("name", ["", "-p", "Shop", "a b", "../x", "a\n", "a.b", "é"])
    def test_a_name_that_compose_would_misread_is_refused(
        self, compose: ComposeCli, programs: RecordingPrograms, name: str, project: Project
    ) -> None:
        with pytest.raises(Invalid):
            compose.run(Project(name, project.directory, ()), "up")
        assert commands(programs) == []

    def test_a_command_that_stops_containers_waits_for_the_list(
        self, programs: RecordingPrograms, project: Project
    ) -> None:
        settled: list[str] = []
        compose = ComposeCli(programs, lambda: None, settle=settled.append)
        compose.run(project, "up", "-d")
        assert settled == []
        compose.run(project, "stop")
        assert settled == ["shop"]

    def test_the_engine_is_the_one_that_was_named(
        self, programs: RecordingPrograms, project: Project
    ) -> None:
        ComposeCli(programs, lambda: None, "unix:///run/other.sock").run(project, "ps")
        assert programs.calls[-1].env["DOCKER_HOST"] == "unix:///run/other.sock"


def _values(args: tuple[str, ...], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(args) if name == option]


class TestWhichCompose:
    @pytest.mark.parametrize("how", ["refuses", "is missing", "hangs"])
    def test_the_old_one_where_the_plugin_is_missing(self, how: str, project: Project) -> None:
        programs = RecordingPrograms()
        errors = {"is missing": Unavailable("no docker"), "hangs": TimedOut("late"), "refuses": None}
        programs.answer(V2, stderr=PLUGIN_MISSING, returncode=1, error=errors[how])
        programs.answer((*V1, "version", "--short"), stdout="1.29.2\n")
        programs.answer((*V1, "--project-name"), stdout="services: {web: {image: x}}\n")
        compose = ComposeCli(programs, lambda: None)
        compose.run(project, "up", "-d")
        folder = project.directory
        assert programs.calls[-1].args == (
            *("docker-compose", "--project-name", "shop", "--project-directory", str(folder)),
            *("-f", f"{folder}/compose.yml", "-f", f"{folder}/.flatrun.override.yml", "up", "-d"),
        )
        assert compose.config(project)["services"] == {"web": {"image": "x"}}
        assert "config" in programs.calls[-1].args

    def test_one_that_takes_one_environment_file_gets_them_put_together(self, project: Project) -> None:
        texts: list[bytes] = []

        class Reading(RecordingPrograms):
            def run(self, args: Sequence[str], **more: Any) -> Completed:
                texts.extend(Path(file).read_bytes() for file in _values(tuple(args), "--env-file"))
                return super().run(args, **more)

        programs = Reading()
        programs.answer(V2, error=Unavailable("no docker"))
        programs.answer((*V1, "version", "--short"), stdout="1.29.2\n")
        own, ours = project.directory / ".env", project.directory / ".env.flatrun"
        own.write_bytes(b"A=1\nB=2")
        ours.write_bytes(b"\xef\xbb\xbfB=3\n")
        compose = ComposeCli(programs, lambda: None)
        compose.run(replace(project, env_files=(own, ours)), "up")
        assert texts == [b"A=1\nB=2\nB=3\n"]
        (temporary,) = _values(programs.calls[-1].args, "--env-file")
        assert not Path(temporary).exists()
        compose.run(replace(project, env_files=(ours,)), "up")
        assert _values(programs.calls[-1].args, "--env-file") == [str(ours)]
        own.unlink()
        with pytest.raises(Failed, match=r"\.env cannot be read"):
            compose.run(replace(project, env_files=(own, ours)), "up")

    def test_none_is_said_and_looked_for_again(self, project: Project) -> None:
        programs = RecordingPrograms()
        programs.answer(V1, error=Unavailable("missing"))
        programs.answer(V2, stderr=PLUGIN_MISSING, returncode=1)
        compose = ComposeCli(programs, lambda: None)
        for call in (compose.version, lambda: compose.run(project, "up"), lambda: compose.config(project)):
            with pytest.raises(Unavailable) as caught:
                call()
            assert caught.value.code == "COMPOSE_MISSING"
        programs.answer((*V2, "version"), stdout="2.30.0")
        assert compose.version() == "2.30.0"

    def test_one_that_was_removed_is_looked_for_again(
        self, compose: ComposeCli, programs: RecordingPrograms, project: Project
    ) -> None:
        compose.run(project, "ps")
        programs.answer(V2, stderr=PLUGIN_MISSING, returncode=1)
        programs.answer((*V1, "version"), stdout="1.29.2")
        with pytest.raises(Failed):
            compose.run(project, "ps")
        compose.run(project, "ps")
        assert programs.calls[-1].args[0] == "docker-compose"


class TestFailures:
    def test_carry_what_was_printed(
        self, compose: ComposeCli, programs: RecordingPrograms, project: Project, touched: list[int]
    ) -> None:
        printed = (
            f" Container x  Starting\nError response from daemon: no such thing in {project.directory}/a\n"
        )
        programs.answer((*V2, "--project-name"), stderr=printed, returncode=1)
        with pytest.raises(Failed) as caught:
            compose.run(project, "up", "-d")
        assert (
            caught.value.message
            == "'docker compose up' failed: Error response from daemon: no such thing in a"
        )
        assert caught.value.body() == {
            "error": caught.value.message,
            "code": "COMPOSE_FAILED",
            "output": " Container x  Starting\nError response from daemon: no such thing in a\n",
        }
        assert touched == [1]
        assert compose.run(project, "up", "-d", check=False).returncode == 1
        assert touched == [1, 1]

    def test_a_limit_that_is_passed(
        self, compose: ComposeCli, programs: RecordingPrograms, project: Project, touched: list[int]
    ) -> None:
        late = TimedOut("docker took longer", output=f"waiting in {project.directory}\n")
        programs.answer((*V2, "--project-name"), error=late)
        with pytest.raises(TimedOut, match="Compose took longer than 5 seconds") as caught:
            compose.run(project, "up", timeout=5)
        assert caught.value.details == {"output": "waiting in .\n"}
        assert touched == [1]

    @pytest.mark.parametrize(
        ("printed", "kind", "code", "text"),
        [
            (
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
                "Is the docker daemon running?",
                *(DockerUnavailable, "DOCKER_UNAVAILABLE", "cannot be reached"),
            ),
            ("error during connect: Get: EOF", DockerUnavailable, "DOCKER_UNAVAILABLE", "reached"),
            (
                "failed to create network a_default: could not find an available, "
                "non-overlapping IPv4 address pool among the defaults to assign to the network",
                *(Failed, "NETWORK_POOL_EXHAUSTED", "default-address-pools"),
            ),
            (
                "Error response from daemon: all predefined address pools have been fully subnetted",
                *(Failed, "NETWORK_POOL_EXHAUSTED", "docker network prune"),
            ),
            (
                "driver failed programming external connectivity on endpoint a-web-1 "
                "(5f): Bind for 127.0.0.1:8080 failed: port is already allocated",
                *(Conflict, "PORT_IN_USE", "Port 8080 is already"),
            ),
            (
                "Error starting userland proxy: listen tcp4 0.0.0.0:8443: bind: address already in use",
                *(Conflict, "PORT_IN_USE", "Port 8443 is already"),
            ),
            (
                "failed to bind host port for [::]:53:172.17.0.2:53/udp: address already in use",
                *(Conflict, "PORT_IN_USE", "Port 53 is already"),
            ),
            (
                "Ports are not available: exposing port TCP :::9000 -> 127.0.0.1:0",
                *(Conflict, "PORT_IN_USE", "Port 9000 is already"),
            ),
            (
                "Error response from daemon: Address already in use",
                Failed,
                "COMPOSE_FAILED",
                "Address already",
            ),
            ("", Failed, "COMPOSE_FAILED", "no reason was given"),
        ],
    )
    def test_known_causes(self, printed: str, kind: type[FlatrunError], code: str, text: str) -> None:
        error = compose_failure("up", f" Container x  Starting\n{printed}\n" if printed else "")
        assert type(error) is kind
        assert error.code == code
        assert text in error.message
        assert error.details["output"].strip().endswith(printed.strip())

    def test_the_engines_own_refusals_are_read_the_same(self) -> None:
        taken = engine_refusal("Bind for 0.0.0.0:80 failed: port is already allocated")
        assert (taken.status, taken.code) == (409, "PORT_IN_USE")
        full = engine_refusal(
            "could not find an available, non-overlapping IPv4 address pool among the defaults"
        )
        assert (full.status, full.code, full.message) == (500, "NETWORK_POOL_EXHAUSTED", NO_ADDRESSES_TEXT)
        other = engine_refusal("OCI runtime create failed")
        assert (other.status, other.code) == (500, "DOCKER_ERROR")
        assert "OCI runtime create failed" in other.message

    @given(st.text())
    def test_any_text_is_read(self, text: str) -> None:
        known_refusal(text)
        compose_failure("up", text)

    def test_secrets_are_left_out_of_what_was_printed(
        self, compose: ComposeCli, programs: RecordingPrograms, project: Project
    ) -> None:
        env_file = project.directory / ".env.flatrun"
        env_file.write_text(
            'DB_PASSWORD="correct horse"\nDB_HOST=database\n'
            "DATABASE_URL=mysql://u:correct horse@database/x\nAPI_KEY=k\n"
        )
        env = {"REGISTRY_TOKEN": "tok-en-123", "FLATRUN_UID": "1000"}
        secretive = Project("shop", project.directory, project.files, (env_file,), env)
        printed = (
            "invalid: mysql://u:correct horse@database/x and correct horse "
            "and tok-en-123 on database, k 1000\n"
        )
        programs.answer((*V2, "--project-name"), stdout=printed, returncode=1)
        with pytest.raises(Failed) as caught:
            compose.run(secretive, "up")
        assert (
            caught.value.details["output"]
            == "invalid: ******** and ******** and ******** on database, k 1000\n"
        )
        assert "horse" not in caught.value.message


class TestConfig:
    def test_the_document_and_the_limit(
        self, compose: ComposeCli, programs: RecordingPrograms, project: Project, touched: list[int]
    ) -> None:
        programs.answer((*V2, "--project-name"), stdout='{"services": {"web": {}}}', stderr="a warning\n")
        assert compose.config(project) == {"services": {"web": {}}}
        assert programs.calls[-1].args[-3:] == ("config", "--format", "json")
        assert programs.calls[-1].timeout <= 30
        assert touched == []

    def test_a_refusal(self, compose: ComposeCli, programs: RecordingPrograms, project: Project) -> None:
        printed = "time=now level=warning msg=x\nservices.web.ports.0 must be a string\n"
        programs.answer((*V2, "--project-name"), stderr=printed, returncode=15)
        with pytest.raises(Invalid) as caught:
            compose.config(project)
        assert caught.value.code == "COMPOSE_INVALID"
        assert caught.value.message == "Compose refuses the file: services.web.ports.0 must be a string"
        assert caught.value.details == {"output": printed}

    @pytest.mark.parametrize("printed", ["{", "[... 5 bytes left out ...]"])
    def test_what_cannot_be_read(
        self, compose: ComposeCli, programs: RecordingPrograms, project: Project, printed: str
    ) -> None:
        programs.answer((*V2, "--project-name"), stdout=printed)
        with pytest.raises(Failed):
            compose.config(project)

    @pytest.mark.parametrize("printed", ["null", "[]", "3"])
    def test_what_is_no_document(
        self, compose: ComposeCli, programs: RecordingPrograms, project: Project, printed: str
    ) -> None:
        programs.answer((*V2, "--project-name"), stdout=printed)
        with pytest.raises(Invalid):
            compose.config(project)
