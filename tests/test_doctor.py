"""``flatrun doctor``: each check finds what is wrong and says what to do."""

import json
import shutil
import socket
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import flatrun_core.app  # noqa: F401 - binds the real Engine before a test puts another in its place
from flatrun_core.checks import Check, Finding
from flatrun_core.cli import host_checks, main
from flatrun_core.cli.doctor import look
from flatrun_core.errors import DockerUnavailable, StartupError, Unavailable
from flatrun_core.ports.docker import PROJECT_LABEL
from flatrun_core.settings import ApiSettings, AuthSettings
from flatrun_core.testing.fake_docker import FakeCompose, FakeEngine

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def engine() -> FakeEngine:
    made = FakeEngine()
    facts(made, SystemTime=datetime.now(UTC).isoformat())
    return made


def facts(engine: FakeEngine, **raw: Any) -> None:
    engine.facts = replace(engine.facts, raw={**engine.facts.raw, **raw})


def wrong(finding: Finding, status: str, *words: str) -> None:
    assert finding.status == status, finding
    assert finding.remedy, "it does not say what to do"
    assert all(word in f"{finding.message} {finding.remedy}" for word in words), finding


# --- files and access --------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "flatrun.yml"
    path.touch(mode=0o600)
    return path


def test_a_configuration_only_its_owner_reads_is_fine(config: Path) -> None:
    assert host_checks.config_file(config, []).status == "ok"
    config.chmod(0o640)
    assert host_checks.config_file(config, []).status == "ok"


@pytest.mark.parametrize(("mode", "word"), [(0o644, "read"), (0o620, "changed"), (0o606, "changed")])
def test_a_configuration_open_to_others_is_warned_of(config: Path, mode: int, word: str) -> None:
    config.chmod(mode)
    wrong(host_checks.config_file(config, []), "warning", word, "chmod 600")


def test_a_wrong_or_absent_configuration_is_named(config: Path) -> None:
    wrong(
        host_checks.config_file(config, ["api.port: bad", "x: unknown"]), "error", "api.port: bad; x: unknown"
    )
    wrong(host_checks.config_file(None, []), "warning", "--config")


@pytest.mark.parametrize(
    ("auth", "others", "status"),
    [
        (AuthSettings(enabled=False), False, "warning"),
        (AuthSettings(), False, "warning"),
        (AuthSettings(), True, "ok"),
        (AuthSettings(api_keys=("short",)), False, "warning"),
        (AuthSettings(api_keys=("k" * 24,)), False, "ok"),
    ],
)
def test_who_gets_in_is_looked_at(auth: AuthSettings, others: bool, status: str) -> None:
    finding = host_checks.credentials(auth, other_ways=others)
    assert finding.status == status
    assert bool(finding.remedy) == (status != "ok")
    assert "short" not in finding.message


def test_the_deployments_folder_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    assert "will be made" in host_checks.deployments_path(path).message
    (path / ".flatrun").mkdir(parents=True, mode=0o755)
    wrong(host_checks.deployments_path(path), "warning", "chmod 700", ".flatrun")
    (path / ".flatrun").chmod(0o700)
    assert host_checks.deployments_path(path).status == "ok"
    path.chmod(0o777)
    wrong(host_checks.deployments_path(path), "warning", "chmod o-w")
    (tmp_path / "file").touch()
    wrong(host_checks.deployments_path(tmp_path / "file"), "error", "chown")


def test_a_folder_that_cannot_be_made_or_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    wrong(host_checks.deployments_path(tmp_path / "a"), "error", "cannot be made")
    wrong(host_checks.deployments_path(tmp_path), "error", "chown")


@pytest.mark.parametrize(
    ("free", "status"), [(50 << 30, "ok"), (3 << 30, "warning"), (1 << 29, "warning"), (1 << 20, "error")]
)
def test_little_disk_space_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(100 << 30, 0, free))
    finding = host_checks.disk_space([tmp_path, tmp_path / "not/yet/there"])
    assert finding.status == status
    assert finding.message.count("free") == 1, "one file system is named once"
    assert bool(finding.remedy) == (status != "ok")


# --- Docker ------------------------------------------------------------------------------------


def test_the_docker_socket_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docker.sock"
    environ = {"DOCKER_HOST": f"unix://{path}"}
    wrong(host_checks.docker_socket(environ), "error", "does not exist", "install")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o660)
        assert host_checks.docker_socket(environ).status == "ok"
        path.chmod(0o666)
        wrong(host_checks.docker_socket(environ), "warning", "chmod 660")
        monkeypatch.setattr("os.access", lambda *_: False)
        wrong(host_checks.docker_socket(environ), "error", "usermod")


def test_a_docker_host_without_tls_is_warned_of() -> None:
    wrong(host_checks.docker_socket({"DOCKER_HOST": "tcp://10.0.0.1:2375"}), "warning", "DOCKER_TLS_VERIFY")
    assert host_checks.docker_socket({"DOCKER_HOST": "ssh://host"}).status == "ok"
    secured = {"DOCKER_HOST": "tcp://10.0.0.1:2376", "DOCKER_TLS_VERIFY": "1"}
    assert host_checks.docker_socket(secured).status == "ok"


def test_the_engines_version_is_shown_and_an_old_one_warned_of(engine: FakeEngine) -> None:
    assert host_checks.docker_engine(engine).message == "27.0.0, API 1.46"
    engine.facts = replace(engine.facts, version="20.10.24+dfsg1")
    assert host_checks.docker_engine(engine).status == "ok"
    engine.facts = replace(engine.facts, version="19.03.15-ce")
    wrong(host_checks.docker_engine(engine), "warning", "upgrade")


def test_an_engine_or_compose_that_is_missing_says_what_to_do(engine: FakeEngine) -> None:
    compose = FakeCompose(engine)
    engine.down = True
    wrong(host_checks.docker_engine(engine), "error", "systemctl start docker")

    def missing() -> str:
        raise Unavailable("there is no compose", code="COMPOSE_MISSING")

    compose.version = missing  # type: ignore[method-assign]
    wrong(host_checks.docker_compose(compose), "error", "there is no compose", "install")


def test_compose_one_is_warned_of(engine: FakeEngine) -> None:
    compose = FakeCompose(engine)
    assert host_checks.docker_compose(compose).status == "ok"
    compose.installed = "1.29.2"
    wrong(host_checks.docker_compose(compose), "warning", "docker-compose-plugin")


@pytest.mark.parametrize(
    ("seconds", "status"), [(0, "ok"), (-20, "ok"), (3600, "warning"), (-3600, "warning")]
)
def test_clocks_that_differ_are_warned_of(engine: FakeEngine, seconds: int, status: str) -> None:
    facts(engine, SystemTime=(datetime.now(UTC) + timedelta(seconds=seconds)).isoformat())
    assert host_checks.clock(engine).status == status


def test_the_engines_clock_may_be_in_another_zone_and_finer(engine: FakeEngine) -> None:
    there = datetime.now(UTC) + timedelta(hours=2)
    facts(engine, SystemTime=f"{there:%Y-%m-%dT%H:%M:%S}.123456789+02:00")
    assert host_checks.clock(engine).status == "ok"


def use_networks(engine: FakeEngine, subnets: list[str]) -> None:
    networks: dict[str, dict[str, Any]] = {"host": {"IPAM": {"Config": []}}, "none": {"IPAM": None}}
    networks |= {subnet: {"IPAM": {"Config": [{"Subnet": subnet}]}} for subnet in subnets}
    engine.networks = lambda: networks  # type: ignore[method-assign, assignment, return-value]


@pytest.mark.parametrize(
    ("used", "status"), [(1, "ok"), (24, "ok"), (25, "warning"), (30, "warning"), (31, "error")]
)
def test_default_address_pools_run_out_after_thirty(engine: FakeEngine, used: int, status: str) -> None:
    pools = [f"172.{number}.0.0/16" for number in range(17, 32)]
    pools += [f"192.168.{16 * number}.0/20" for number in range(16)]
    use_networks(engine, [*pools[:used], "10.5.0.0/24", "fd00::/64"])
    finding = host_checks.address_pools(engine)
    assert finding.status == status
    assert f"{used} of about 31" in finding.message
    if status != "ok":
        wrong(finding, status, "default-address-pools", "daemon.json")


def test_configured_address_pools_are_counted(engine: FakeEngine) -> None:
    pools = [{"Base": "10.200.0.0/16", "Size": 26}, {"Base": "fd00::/48", "Size": 64}]
    facts(engine, DefaultAddressPools=pools)
    use_networks(engine, ["10.200.0.0/26", "10.200.0.64/26", "172.17.0.0/16"])
    assert host_checks.address_pools(engine).message == "2 of about 1024 networks are used"


# --- ports -------------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def api(port: int, host: str = "127.0.0.1") -> ApiSettings:
    return ApiSettings(host=host, port=port)


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr("flatrun_core.cli.host_checks.Client.get", lambda *_: answer)


def test_a_free_api_port_is_fine(taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    assert host_checks.api_port(api(free)).status == "ok"


def test_the_panel_itself_may_have_the_api_port(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"status": "ok", "version": "1.2.3", "uptime": "4m"})
    finding = host_checks.api_port(api(taken))
    assert finding.status == "ok"
    assert "1.2.3" in finding.message
    assert "4m" in finding.message


@pytest.mark.parametrize("answer", [{"status": "down"}, [], "text", None, {"status": "ok"}])
def test_another_program_on_the_api_port_is_an_error(
    taken: int, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    answering(monkeypatch, answer)
    wrong(host_checks.api_port(api(taken)), "error", str(taken), "ss -ltnp")


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_api_address_that_is_not_ours_is_an_error(host: str) -> None:
    wrong(host_checks.api_port(api(8090, host)), "error", host)


def test_a_stopped_deployment_whose_port_is_taken_is_warned_of(engine: FakeEngine, taken: int) -> None:
    def bound(port: int) -> dict[str, Any]:
        return {"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}}}

    engine.add("running", labels={PROJECT_LABEL: "a"}, document=bound(taken))
    engine.add("foreign", state="exited", document=bound(taken))
    engine.add(
        "random", state="exited", labels={PROJECT_LABEL: "r"}, document={"HostConfig": {"PortBindings": None}}
    )
    assert host_checks.published_ports(engine).status == "ok"
    engine.add("stopped", state="exited", labels={PROJECT_LABEL: "blog"}, document=bound(taken))
    wrong(host_checks.published_ports(engine), "warning", f"{taken} (blog)")


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command on a host whose Engine is in memory and without plugins."""
    file = tmp_path / "flatrun.yml"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    file.write_text(
        f"deployments_path: {tmp_path / 'deployments'}\napi: {{host: 127.0.0.1, port: {port}}}\n"
        "auth: {api_keys: [a-key-of-some-length-0123]}\n"
    )
    file.chmod(0o600)
    monkeypatch.setattr("flatrun_core.plugins.discover", lambda: [])
    monkeypatch.setattr("flatrun_core.docker.DockerEngine", lambda: engine)
    monkeypatch.setattr("flatrun_core.docker.ComposeCli", lambda *_: FakeCompose(engine))
    monkeypatch.setattr(host_checks, "docker_socket", lambda _environ: Finding("ok", "here"))
    monkeypatch.setattr(host_checks, "disk_space", lambda _paths: Finding("ok", "enough"))
    engine.facts = replace(engine.facts, root=str(tmp_path))

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--config", str(file), "doctor", *arguments])

    return invoke


def statuses(result: Result) -> dict[str, str]:
    return {entry["name"]: entry["status"] for entry in json.loads(result.stdout)["checks"]}


def test_a_healthy_host_is_all_ok(run: Callable[..., Result]) -> None:
    result = run("--json")
    assert set(statuses(result).values()) == {"ok"}
    assert result.exit_code == 0
    assert json.loads(result.stdout)["ok"] is True
    assert list(statuses(result)) == [
        *("config", "docker-socket", "docker-engine", "compose", "clock", "networks", "published-ports"),
        *("api-port", "deployments-path", "disk", "panel", "credentials", "plugins"),
    ]


def test_for_people_each_check_is_a_line_and_each_trouble_has_a_remedy(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "flatrun.yml").chmod(0o644)
    result = run()
    assert result.exit_code == 0, "a warning is no error"
    lines = result.stdout.splitlines()
    assert lines[0].startswith("warning  Configuration ")
    assert lines[1].strip().startswith("To do: chmod 600")
    assert all(line.startswith("ok ") for line in lines[2:])


def test_an_engine_that_is_down_is_one_error_not_many(run: Callable[..., Result], engine: FakeEngine) -> None:
    engine.down = True
    result = run("--json")
    assert result.exit_code == 1
    assert [name for name, status in statuses(result).items() if status == "error"] == ["docker-engine"]
    assert "networks" not in statuses(result)


def test_a_wrong_configuration_stops_no_other_check(run: Callable[..., Result], tmp_path: Path) -> None:
    with (tmp_path / "flatrun.yml").open("a") as file:
        file.write("nonsense: 1\n")
    result = run("--json")
    assert result.exit_code == 1
    found = statuses(result)
    assert found["config"] == "error"
    assert found["docker-engine"] == "ok"


def test_a_panel_that_cannot_start_says_why(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise StartupError("the database is older than the program; run 'flatrun migrate'")

    monkeypatch.setattr("flatrun_core.app.create_app", refuse)
    result = run("--json")
    entry = next(entry for entry in json.loads(result.stdout)["checks"] if entry["name"] == "panel")
    assert entry["status"] == "error"
    assert "flatrun migrate" in entry["message"]


def test_what_nobody_foresaw_is_an_error_of_its_check(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any, **__: Any) -> Any:
        raise RuntimeError("boom")

    monkeypatch.setattr("flatrun_core.app.create_app", explode)
    assert statuses(run("--json"))["panel"] == "error"
    monkeypatch.setattr(host_checks, "disk_space", explode)
    assert statuses(run("--json"))["disk"] == "error"


def test_a_check_that_raises_is_shown_with_its_text() -> None:
    def down() -> Finding:
        raise DockerUnavailable("The Docker Engine\ndoes not answer")

    def silent() -> Finding:
        raise KeyError

    assert look(Check("a", "A", down)) == Finding("error", "The Docker Engine does not answer")
    assert look(Check("a", "A", silent)) == Finding("error", "KeyError")


def test_checks_of_plugins_come_last_under_their_name(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import ModuleType

    from flatrun_core import PluginInfo, hookimpl
    from flatrun_core.plugins import PluginRecord

    module = ModuleType("watchful")
    module.PLUGIN = PluginInfo(slug="watchful", hook_api=1)  # type: ignore[attr-defined]

    @hookimpl
    def flatrun_register_checks() -> list[Check]:
        return [Check("moon", "Moon", lambda: Finding("error", "it is full", "wait"))]

    module.flatrun_register_checks = flatrun_register_checks  # type: ignore[attr-defined]
    record = PluginRecord("watchful", module=module)
    broken = PluginRecord("broken", module=ModuleType("broken"))
    monkeypatch.setattr("flatrun_core.plugins.discover", lambda: [record, broken])
    result = run("--json")
    assert result.exit_code == 1
    found = statuses(result)
    assert list(found)[-1] == "watchful.moon"
    assert found["plugins"] == "error"
