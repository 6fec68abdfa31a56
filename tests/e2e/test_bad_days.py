"""Bad input and bad days: each gives the contract's error, and what was there is there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import docker
import pytest
import requests
from flatrun_e2e.panel import PanelProcess
from flatrun_e2e.private_engine import PrivateEngine
from flatrun_e2e.sites import WEB, compose_of, containers, create, eventually, item

StartPanel = Callable[..., PanelProcess]

LEVELS = zip("abcdefgh", "bcdefghi", strict=True)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + below] * 10)}]\n" for below, name in LEVELS
)
NAMES = [
    "..",
    "../x",
    "a/b",
    "/etc/passwd",
    "-rf",
    "--help",
    "a\nb",
    "a\r",
    "a" * 300,
    ".flatrun",
    "A",
    "ä",
    "a\0",
]


def tree(root: Path) -> dict[str, bytes]:
    """Return every file of the deployments with its bytes."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(root)): path.read_bytes() for path in files if ".flatrun" not in path.parts}


def refused(panel: PanelProcess, status: int, code: str, **body: Any) -> str:
    """Post a creation that is refused so, and return its sentence."""
    before = tree(panel.root)
    answer = panel.post("/api/deployments", {"name": "e2e-refused", **body})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert tree(panel.root) == before
    assert str(panel.root) not in answer.text
    return str(answer.json()["error"])


# --- bad input ---


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_none(module_panel: PanelProcess, busybox_image: str, name: str) -> None:
    text = compose_of(busybox_image, web=WEB)
    before = tree(module_panel.root)
    answer = module_panel.post("/api/deployments", {"name": name, "compose": text})
    assert answer.status_code == 400, answer.text
    assert tree(module_panel.root) == before
    for method, end in (("GET", ""), ("POST", "/start"), ("DELETE", "")):
        answer = module_panel.request(method, f"/api/deployments/{quote(name, safe='')}{end}")
        assert answer.status_code in (400, 404), answer.text
        assert set(answer.json()) == {"error", "code"}


@pytest.mark.parametrize(
    "text",
    [
        "services: [unclosed",
        "\t- tabs",
        "just a sentence",
        "services: {}",
        "x: 1",
        "services:\n  web: {}\n",
        BOMB + "services: {web: {image: x}}\n",
        "services: &s {web: {image: x, again: *s}}\n",
    ],
)
def test_compose_text_that_is_none(module_panel: PanelProcess, text: str) -> None:
    refused(module_panel, 400, "COMPOSE_INVALID", compose=text)


def test_compose_text_of_two_mebibytes(module_panel: PanelProcess) -> None:
    refused(module_panel, 413, "PAYLOAD_TOO_LARGE", compose="# " + "x" * (2 << 20))


def test_compose_text_that_compose_itself_refuses(module_panel: PanelProcess, busybox_image: str) -> None:
    text = compose_of(busybox_image, web={**WEB, "imagine": "this"})
    assert "imagine" in refused(module_panel, 400, "COMPOSE_INVALID", compose=text)
    missing = compose_of(busybox_image, web={**WEB, "env_file": ["nowhere.env"]})
    assert "nowhere.env" in refused(module_panel, 400, "COMPOSE_INVALID", compose=missing)


def test_of_many_creations_of_one_name_one_wins(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    text = compose_of(busybox_image, web=WEB)
    barrier = threading.Barrier(6)

    def attempt(number: int) -> tuple[int, str]:
        body = {"name": unique_name, "compose": f"{text}\n# {number}\n"}
        barrier.wait(10)
        url, key = module_panel.url, module_panel.key
        answer = requests.post(f"{url}/api/deployments", json=body, headers={"X-API-Key": key}, timeout=60)
        return answer.status_code, "" if answer.ok else answer.json()["code"]

    with ThreadPoolExecutor(6) as pool:
        outcomes = sorted(pool.map(attempt, range(6)))
    assert outcomes == [(201, "")] + [(409, "DEPLOYMENT_EXISTS")] * 5
    assert item(module_panel, unique_name)["status"] == "stopped"


def test_a_port_that_is_bound_already(module_panel: PanelProcess, busybox_image: str, new_name: Any) -> None:
    text = compose_of(busybox_image, web=WEB)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refused(module_panel, 409, "PORT_IN_USE", compose=text, port=port)
    first, second = new_name(), new_name()
    create(module_panel, first, text, port=port)
    assert first in refused(module_panel, 409, "PORT_IN_USE", compose=text, port=port)
    # Bound after the creation: the start tells, and the deployment stays as it is.
    with socket.create_server(("0.0.0.0", port)):
        answer = module_panel.post(f"/api/deployments/{first}/start")
    assert (answer.status_code, answer.json()["code"]) == (409, "PORT_IN_USE"), answer.text
    create(module_panel, second, text)
    assert module_panel.post(f"/api/deployments/{first}/start").status_code == 200


def test_a_broken_service_yml_is_shown_and_not_touched(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    create(module_panel, unique_name, compose_of(busybox_image, web=WEB), auto_start=True)
    file = module_panel.root / unique_name / "service.yml"
    broken = b"# by hand\r\nnetworking: {expose: [\r\n"
    file.write_bytes(broken)
    assert (item(module_panel, unique_name)["status"], item(module_panel, unique_name)["services"]) == (
        "error",
        [],
    )
    assert module_panel.get(f"/api/deployments/{unique_name}").json()["deployment"]["metadata"] is None
    for action in ("stop", "start", "restart"):
        assert module_panel.post(f"/api/deployments/{unique_name}/{action}").status_code == 200
    assert file.read_bytes() == broken


def test_a_symlinked_folder_out_of_the_root_is_no_deployment(
    module_panel: PanelProcess, busybox_image: str, unique_name: str, tmp_path: Path
) -> None:
    text = compose_of(busybox_image, web=WEB)
    (tmp_path / "docker-compose.yml").write_text(text)
    link = module_panel.root / unique_name
    link.symlink_to(tmp_path)
    assert unique_name not in [each["name"] for each in module_panel.get("/api/deployments").json()]
    for method, end in (("GET", ""), ("POST", "/start"), ("DELETE", "?remove_files=true")):
        assert module_panel.request(method, f"/api/deployments/{unique_name}{end}").status_code == 404
    answer = module_panel.post("/api/deployments", {"name": unique_name, "compose": text})
    assert answer.json()["code"] == "DEPLOYMENT_EXISTS"
    assert link.is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["docker-compose.yml"]
    link.unlink()


# --- bad days ---


def test_the_daemon_stops_in_the_middle_of_a_start_and_comes_back(
    start_panel: StartPanel, private_engine: PrivateEngine, busybox_image: str
) -> None:
    panel = start_panel(engine=private_engine)
    never = {"test": ["CMD", "false"], "interval": "1s", "retries": 100}
    waiting = {**WEB, "depends_on": {"first": {"condition": "service_healthy"}}}
    text = compose_of(busybox_image, first={"healthcheck": never}, web=waiting)
    create(panel, "site", text)
    before = tree(panel.root)
    with ThreadPoolExecutor() as pool:
        start = pool.submit(panel_post, panel, "/api/deployments/site/start")
        eventually(lambda: len(containers(private_engine.client, "site")), 2)
        private_engine.stop()
        answer = start.result(timeout=120)
    assert answer.status_code in (500, 503), answer.text
    assert answer.json()["code"] in ("COMPOSE_FAILED", "DOCKER_UNAVAILABLE")
    assert item(panel, "site")["status"] == "unknown"
    assert {service["status"] for service in item(panel, "site")["services"]} == {"unknown"}
    assert panel_post(panel, "/api/deployments/site/stop").json()["code"] == "DOCKER_UNAVAILABLE"
    assert tree(panel.root) == before

    private_engine.start()
    eventually(lambda: item(panel, "site")["status"] in ("stopped", "error"), True)
    easy = compose_of(busybox_image, web=WEB)
    (panel.root / "site" / "docker-compose.yml").write_text(easy)
    assert panel_post(panel, "/api/deployments/site/start").status_code == 200
    assert item(panel, "site")["status"] == "running"
    private_engine.kill9()
    eventually(lambda: item(panel, "site")["status"], "unknown")
    private_engine.start()
    eventually(lambda: item(panel, "site")["status"] != "unknown", True)


def panel_post(panel: PanelProcess, path: str) -> requests.Response:
    """Post on a connection of its own."""
    headers = {"X-API-Key": panel.key}
    return requests.post(panel.url + path, headers=headers, timeout=120)


def test_no_network_addresses_are_left(
    start_panel: StartPanel, start_private_engine: Callable[..., PrivateEngine], busybox_image: str
) -> None:
    engine = start_private_engine(address_pools=[{"base": "10.211.0.0/25", "size": 26}])
    engine.load(busybox_image)
    panel = start_panel(engine=engine)
    taken = [engine.client.create_network(f"taken-{number}")["Id"] for number in range(2)]
    text = compose_of(busybox_image, web=WEB)
    create(panel, "site", text)
    answer = panel.post("/api/deployments/site/start")
    assert (answer.status_code, answer.json()["code"]) == (500, "NETWORK_POOL_EXHAUSTED")
    assert "default-address-pools" in answer.json()["error"]
    made = panel.post("/api/deployments", {"name": "two", "compose": text, "auto_start": True})
    assert made.status_code == 201
    assert "address" in made.json()["start_error"]
    engine.client.remove_network(taken[0])
    assert panel.post("/api/deployments/site/start").status_code == 200


def test_the_disk_is_full_while_files_are_written(
    start_panel: StartPanel, small_disk: Path, busybox_image: str, new_name: Any, tmp_path: Path
) -> None:
    root = small_disk / "deployments"
    database = f"sqlite:///{tmp_path}/panel.db"
    panel = start_panel(settings={"deployments_path": str(root), "database": database})
    panel.root = root
    old, removed, new = new_name(), new_name(), new_name()
    text = compose_of(busybox_image, web=WEB)
    for name in (old, removed):
        create(panel, name, text, env_vars=[{"key": "A", "value": "1"}])
    panel.delete(f"/api/deployments/{removed}")
    filler = small_disk / "filler"
    fill(filler)
    before = tree(root)
    big = text + "# " + "x" * 40_000
    for name in (new, removed):
        body = {"name": name, "compose": big, "env_vars": [{"key": "A", "value": "2"}]}
        answer = panel.post("/api/deployments", body)
        assert (answer.status_code, answer.json()["code"]) == (500, "STORAGE_FULL"), answer.text
        assert "space" in answer.json()["error"]
        assert tree(root) == before
    assert [each["name"] for each in panel.get("/api/deployments").json()] == [old]
    assert not list(root.glob(f"{new}*"))
    answer = panel.delete(f"/api/deployments/{old}?remove_files=true")
    assert answer.json()["files_removed"] is True
    filler.unlink()
    for name in (new, removed):
        create(panel, name, text)
    assert (root / removed / ".env.flatrun").read_text() == "A=1\n"


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 256)


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[Callable[[str], dict[str, str]]]:
    """Return a function that gives a PATH with a docker that never ends in one compose command."""
    folder, reached = tmp_path / "bin", tmp_path / "reached"

    def make(command: str) -> dict[str, str]:
        folder.mkdir()
        script = f"""#!/bin/sh
for word in "$@"; do
  if [ "$word" = {command} ]; then echo $$ > {reached}; exec sleep 120; fi
done
exec {shutil.which("docker")} "$@"
"""
        (folder / "docker").write_text(script)
        (folder / "docker").chmod(0o755)
        return {"PATH": f"{folder}:{os.environ['PATH']}"}

    yield make
    if reached.exists():
        with suppress(ProcessLookupError):
            os.kill(int(reached.read_text()), signal.SIGKILL)


def interrupted(panel: PanelProcess, name: str, text: str, reached: Path, **more: Any) -> None:
    """Begin a creation, and kill the panel when the docker command is reached."""
    panel.created.add(name)

    def begin() -> None:
        with suppress(requests.RequestException):
            panel.post("/api/deployments", {"name": name, "compose": text, **more})

    with ThreadPoolExecutor() as pool:
        creation = pool.submit(begin)
        eventually(lambda: reached.exists() and bool(reached.read_text()), True)
        panel.kill9()
        creation.result(timeout=30)


def test_a_panel_killed_during_a_creation_takes_it_back_at_the_next_start(
    start_panel: StartPanel, busybox_image: str, new_name: Any, stuck: Any, tmp_path: Path
) -> None:
    panel = start_panel(env=stuck("config"))
    name, reached = new_name(), tmp_path / "reached"
    interrupted(panel, name, compose_of(busybox_image, web=WEB), reached)
    assert (panel.root / name / "docker-compose.yml").exists()
    (tmp_path / "bin/docker").unlink()
    panel.start()
    assert f"the creation of '{name}' was cut off and has been taken back" in panel.log
    assert not (panel.root / name).exists()
    assert panel.get("/api/deployments").json() == []
    create(panel, name, compose_of(busybox_image, web=WEB))


def test_a_panel_killed_during_a_creation_over_a_removed_one_puts_it_back(
    start_panel: StartPanel, busybox_image: str, unique_name: str, stuck: Any, tmp_path: Path
) -> None:
    panel, name = start_panel(), unique_name
    text = compose_of(busybox_image, web=WEB)
    create(panel, name, text, env_vars=[{"key": "A", "value": "1"}])
    (panel.root / name / "rows").write_text("precious")
    panel.delete(f"/api/deployments/{name}")
    before = tree(panel.root)
    panel.terminate()
    panel._env |= stuck("config")
    panel.start()
    interrupted(panel, name, text + "# new", tmp_path / "reached", env_vars=[{"key": "A", "value": "2"}])
    assert tree(panel.root) != before
    panel.start()
    assert tree(panel.root) == before
    assert panel.get("/api/deployments").json() == []


def test_a_panel_killed_during_the_first_start_keeps_the_complete_deployment(
    start_panel: StartPanel,
    engine: docker.APIClient,
    busybox_image: str,
    unique_name: str,
    stuck: Any,
    tmp_path: Path,
) -> None:
    panel, name = start_panel(env=stuck("up")), unique_name
    text = compose_of(busybox_image, web=WEB)
    interrupted(panel, name, text, tmp_path / "reached", auto_start=True)
    (tmp_path / "bin/docker").unlink()
    panel.start()
    assert f"the creation of '{name}' was cut off after its files stood" in panel.log
    assert item(panel, name)["status"] == "stopped"
    assert (panel.root / name / "docker-compose.yml").read_text() == text
    assert panel.post(f"/api/deployments/{name}/start").status_code == 200
    assert len(containers(engine, name)) == 1


def test_a_panel_killed_at_any_moment_never_leaves_a_half_made_deployment(
    start_panel: StartPanel, busybox_image: str, new_name: Any
) -> None:
    panel = start_panel()
    text = compose_of(busybox_image, web=WEB)
    for number in range(6):
        name = new_name()

        def begin(name: str = name) -> None:
            with suppress(requests.RequestException):
                panel.post("/api/deployments", {"name": name, "compose": text, "env_vars": [{"key": "A"}]})

        with ThreadPoolExecutor() as pool:
            creation = pool.submit(begin)
            time.sleep(0.02 + number * 0.06)
            panel.kill9()
            creation.result(timeout=30)
        panel.start()
        listed = [each["name"] for each in panel.get("/api/deployments").json()]
        for folder in (path for path in panel.root.iterdir() if path.name != ".flatrun"):
            assert folder.name in listed
            files = {path.name for path in folder.iterdir()}
            assert files == {"docker-compose.yml", "service.yml", ".env.flatrun"}
            assert json.loads((folder / "docker-compose.yml").read_text())
