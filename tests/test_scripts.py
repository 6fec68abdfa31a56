"""The pieces of scripts/up, scripts/down and scripts/test that need no Engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts/lib"))

from flatrun_scripts import administrator, hello_site, images, layout, panel, processes, shell  # noqa: E402


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def bare_path(tmp_path: Path, *programs: str) -> str:
    """Return a PATH with nothing but these programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in programs:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(Path(found).resolve())
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    return str(folder)


def run_up(*arguments: str, path: str, home: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": path, "HOME": str(home), "FLATRUN_HOME": str(home / "state")}
    return subprocess.run(
        [str(REPOSITORY / "scripts/up"), *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_image_archive_depends_on_its_content_only(tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_text("#!/bin/sh\necho sh\necho ls\n")
    busybox.chmod(0o755)
    first = images._archive(busybox, {"www/index.html": b"one"})
    os.utime(busybox, (1, 1))
    assert images._archive(busybox, {"www/index.html": b"one"}) == first
    assert images._archive(busybox, {"www/index.html": b"two"}) != first


def test_a_program_with_a_loader_is_not_static(tmp_path: Path) -> None:
    assert not images.is_static(Path("/bin/sh").resolve())
    assert not images.is_static(tmp_path / "missing")
    (tmp_path / "text").write_text("#!/bin/sh\n")
    assert not images.is_static(tmp_path / "text")


def test_the_hello_image_holds_the_page_and_its_compose_file_names_it() -> None:
    assert b"Hello from Flatrun" in hello_site.image().files["www/index.html"]
    text = hello_site.compose_text("flatrun/hello:0123")
    assert "image: flatrun/hello:0123\n" in text
    assert hello_site.PLACEHOLDER not in text


def test_a_pid_file_counts_for_its_own_process_only(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    path = tmp_path / "pid.json"
    started = processes.start_time(sleeper.pid)
    assert started is not None
    path.write_text(json.dumps({"pid": sleeper.pid, "started": started + 1}))
    assert processes.Background.read(path) is None
    path.write_text(json.dumps({"pid": sleeper.pid, "started": started}))
    found = processes.Background.read(path)
    assert found is not None
    assert found.stop(5)
    assert sleeper.wait(5) == -signal.SIGTERM


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "started": 1}'])
def test_a_broken_pid_file_names_no_process(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pid.json"
    path.write_text(text)
    assert processes.Background.read(path) is None


def test_the_record_survives_being_written_and_read(tmp_path: Path) -> None:
    state = layout.State.load(tmp_path)
    state.packages, state.site = ["docker.io"], {"name": "hello", "port": 8080}
    state.save()
    assert layout.State.load(tmp_path) == state


def test_a_record_that_cannot_be_read_stops_the_script_and_stays(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"packages": ')
    with pytest.raises(shell.ScriptError, match=r"up\.json cannot be read"):
        layout.State.load(tmp_path)
    assert (tmp_path / "up.json").read_text() == '{"packages": '


def test_only_one_script_works_on_a_state_folder(tmp_path: Path) -> None:
    with (
        layout.only_one(tmp_path),
        pytest.raises(shell.ScriptError, match="at work here"),
        layout.only_one(tmp_path),
    ):
        pass
    with layout.only_one(tmp_path):
        pass


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not panel.port_free(port)
        assert panel.next_free_port(port) != port


def test_first_settings_are_private_and_have_a_key_of_their_own(tmp_path: Path) -> None:
    keys = set()
    proxy = panel.Proxy("edge", "edge-net", "flatrun/nginx:0123", 8081, 8444)
    for name in ("a", "b"):
        path = tmp_path / name / "flatrun.yml"
        path.parent.mkdir()
        panel.write_settings(path, 8090, proxy)
        assert path.stat().st_mode & 0o777 == 0o600
        settings = panel.read_settings(path, Path(sys.prefix))
        assert (settings.url, settings.root) == ("http://127.0.0.1:8090", path.parent / "deployments")
        assert settings.proxy == proxy
        keys.add(settings.key)
    assert len(keys) == 2
    assert min(len(key) for key in keys) >= 40


def test_every_plugin_folder_is_a_distribution() -> None:
    folders = [path.parent for path in (REPOSITORY / "plugins").glob("*/setup.cfg")]
    assert layout.distributions("plugins") == sorted(folders)


class Answering(panel.Client):
    """A panel that answers one thing."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.answer = status, body

    def ask(
        self, method: str, path: str, body: Any = None, timeout: float = 30
    ) -> tuple[int, dict[str, Any]]:
        assert (method, path) == ("GET", "/api/users")
        return self.answer


def account(username: str = "admin", role: str = "admin", number: int = 1, age: float = 0) -> dict[str, Any]:
    made = datetime.now(UTC) - timedelta(seconds=age)
    return {"id": number, "username": username, "role": role, "created_at": f"{made:%Y-%m-%dT%H:%M:%S}Z"}


def told(client: panel.Client, password: administrator.Password | None) -> list[tuple[str, str]]:
    return administrator.lines(client, password, Path("/v/bin/flatrun"), Path("/s/flatrun.yml"))


RESET = ("New password", "/v/bin/flatrun --config /s/flatrun.yml users reset-password admin")


def test_the_first_password_is_made_up_and_goes_into_the_environment_only() -> None:
    passwords = [administrator.choose({"FLATRUN_ADMIN_PASSWORD": ""}) for _ in range(2)]
    texts = {password.environment["FLATRUN_ADMIN_PASSWORD"] for password in passwords}
    assert len(texts) == 2
    assert min(map(len, texts)) >= 20
    assert not any(text in repr(passwords) for text in texts)


@pytest.mark.parametrize("name", ["FLATRUN_ADMIN_PASSWORD", "FLATRUN_ADMIN_PASSWORD_FILE"])
def test_a_password_that_the_user_has_set_is_taken_and_not_shown(name: str) -> None:
    password = administrator.choose({name: "hunter2hunter2"})
    assert password.environment == {}
    lines = told(Answering(200, {"users": [account()]}), password)
    assert lines == [("Administrator", "admin"), ("Password", f"as {name} says")]


def test_the_password_is_told_when_this_start_made_the_administrator() -> None:
    password = administrator.choose({})
    lines = told(Answering(200, {"users": [account()]}), password)
    assert lines == [
        ("Administrator", "admin"),
        ("Password", f"{password.environment['FLATRUN_ADMIN_PASSWORD']}   (shown only now)"),
    ]


@pytest.mark.parametrize(
    "users",
    [
        [account(age=60)],
        [account("ada", "operator", 2), account(age=60)],
        [account("root", number=2), account()],
    ],
    ids=["older", "with others", "one of two"],
)
def test_of_an_administrator_who_was_there_the_way_to_a_new_password_is_told(
    users: list[dict[str, Any]],
) -> None:
    lines = told(Answering(200, {"users": users}), administrator.choose({}))
    assert lines == [("Administrator", "admin"), RESET]


def test_a_panel_that_was_running_got_no_password() -> None:
    assert told(Answering(200, {"users": [account()]}), None) == [("Administrator", "admin"), RESET]


def test_a_panel_without_accounts_has_no_administrator_to_tell_of() -> None:
    assert told(Answering(404, {"error": "Not found"}), administrator.choose({})) == []


def test_what_went_wrong_with_the_administrator_is_told() -> None:
    [(_, none)] = told(Answering(200, {"users": []}), administrator.choose({}))
    assert "none was made" in none
    [(_, unknown)] = told(Answering(503, {"error": "The database is down"}), administrator.choose({}))
    assert unknown == "the panel does not say: The database is down"


def test_up_without_a_terminal_says_what_is_missing_and_installs_nothing(tmp_path: Path) -> None:
    path = bare_path(tmp_path, "bash", "dirname", "env", "apt-get")
    done = run_up(path=path, home=tmp_path)
    assert done.returncode == 1
    assert "docker.io" in done.stdout
    assert "the Docker Engine runs the sites" in done.stdout
    assert "Nothing was installed." in done.stderr
    assert "--yes" in done.stderr


def test_up_says_what_to_do_where_there_is_no_package_manager(tmp_path: Path) -> None:
    done = run_up("--yes", path=bare_path(tmp_path, "bash", "dirname", "env"), home=tmp_path)
    assert done.returncode == 1
    assert "Nothing can be installed" in done.stderr
    assert "by hand" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "0"],
        ["--http-port", "x"],
        ["--https-port", "65536"],
        ["--proxy-name", "a b"],
        ["--site-name", "-a"],
        ["--site-name", "a/b"],
    ],
)
def test_up_refuses_bad_arguments(tmp_path: Path, arguments: list[str]) -> None:
    done = run_up(*arguments, path=os.environ["PATH"], home=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "state").exists()


def test_an_old_python_is_named_as_the_reason(tmp_path: Path) -> None:
    path = bare_path(tmp_path, "bash", "dirname", "env")
    (Path(path) / "python3").unlink()
    (Path(path) / "python3").write_text("#!/bin/bash\nexit 1\n")
    (Path(path) / "python3").chmod(0o755)
    done = run_up(path=path, home=tmp_path)
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr


def test_down_finds_nothing_where_up_never_ran(tmp_path: Path) -> None:
    # A copy: the real one would remove the environment of a panel in this very folder.
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    done = subprocess.run(
        [str(tmp_path / "scripts/down")],
        env={**os.environ, "FLATRUN_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Nothing of scripts/up is here.\n"
