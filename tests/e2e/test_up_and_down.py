"""`scripts/up` and `scripts/down` on a copy of the tree, with the real Engine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest
import requests
from docker.errors import NotFound
from flatrun_e2e.ports import Ports
from flatrun_e2e.traces import Traces

REPOSITORY = Path(__file__).resolve().parents[2]
# One after the other: each of them may install, and makes the same images.
pytestmark = pytest.mark.xdist_group("up and down")
PARTS = ("scripts", "examples", "plugins", "flatrun_core")


class Clone:
    """A copy of the repository, as fresh as a clone."""

    def __init__(self, folder: Path, name: str, ports: Ports) -> None:
        self.folder = folder
        self.state = folder / ".flatrun"
        self.proxy = f"{name}-proxy"
        self.http_port = ports.next()
        self.options = ["--yes", "--port", str(ports.next()), "--site-name", name]
        self.options += ["--proxy-name", self.proxy]
        self.options += ["--http-port", str(self.http_port), "--https-port", str(ports.next())]
        ignore = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
        for part in PARTS:
            shutil.copytree(REPOSITORY / part, folder / part, ignore=ignore)
        for path in REPOSITORY.iterdir():
            if path.is_file():
                shutil.copy2(path, folder / path.name)

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLATRUN_")}
        return subprocess.run(
            [str(self.folder / "scripts" / script), *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )


@pytest.fixture
def clone(tmp_path: Path, unique_name: str, ports: Ports, engine: docker.APIClient) -> Iterator[Clone]:
    made = Clone(tmp_path / "clone", unique_name, ports)
    yield made
    with suppress(NotFound):
        engine.remove_container(made.proxy, force=True, v=True)
    with suppress(NotFound):
        engine.remove_network(made.proxy)


def hello(clone: Clone, name: str) -> str:
    """Return the site's page as curl shows it, which knows that names below localhost are here."""
    command = ["curl", "-sS", "--noproxy", "*", f"http://{name}.localhost:{clone.http_port}/"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def proxies(engine: docker.APIClient, clone: Clone) -> list[str]:
    """Return what the Engine has of the proxy: its container and its network."""
    found = [item["Names"][0] for item in engine.containers(all=True, filters={"name": clone.proxy})]
    return found + [item["Name"] for item in engine.networks(names=[clone.proxy])]


def flatrun_images(engine: docker.APIClient) -> set[str]:
    """Return the names of the images that scripts/up makes."""
    names = {tag for image in engine.images() for tag in image["RepoTags"] or ()}
    return {name for name in names if name.startswith(("flatrun/nginx:", "flatrun/hello:"))}


def value(output: str, title: str) -> str:
    """Return what the summary says after a title."""
    return next(
        line.strip().removeprefix(title).strip()
        for line in output.splitlines()
        if line.strip().startswith(title)
    )


def plugin_states(session: requests.Session, url: str, key: str) -> dict[str, str]:
    """Return the state of every plugin of a panel."""
    answer = session.get(f"{url}/api/plugins", headers={"Authorization": f"Bearer {key}"}, timeout=10)
    return {plugin["name"]: plugin["status"] for plugin in answer.json()["plugins"]}


def without_password(output: str) -> list[str]:
    """Return the lines of the summary but the one with the password, or the way to one."""
    lines = output[output.index("  Site ") :].splitlines()
    return [line for line in lines if "password" not in line.lower()]


def login(session: requests.Session, output: str, password: str) -> requests.Response:
    """Log in as the administrator of the summary."""
    body = {"username": value(output, "Administrator"), "password": password}
    return session.post(value(output, "Panel") + "/api/auth/login", json=body, timeout=30)


def check_login(session: requests.Session, output: str) -> str:
    """Log in with the password of the summary and return it."""
    password = value(output, "Password").split()[0]
    assert value(output, "Administrator") == "admin"
    assert login(session, output, password).json()["user"]["role"] == "admin"
    return password


def check_reset(session: requests.Session, output: str, password: str) -> None:
    """Get a new password by the command of the summary; the old one is refused then."""
    command = [*shlex.split(value(output, "New password")), "--generate"]
    reset = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert reset.returncode == 0, reset.stderr
    assert login(session, output, password).status_code == 401
    assert login(session, output, value(reset.stdout, "Password:")).status_code == 200


def files_with(text: str, folder: Path) -> list[Path]:
    """Return the files that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_site_answers_after_up_twice_and_nothing_is_left_after_down(
    clone: Clone, engine: docker.APIClient, unique_name: str
) -> None:
    images = flatrun_images(engine)
    first = clone.run("up", *clone.options)
    try:
        assert first.returncode == 0, first.stdout + first.stderr
        session = requests.Session()
        session.trust_env = False
        assert value(first.stdout, "Site") == f"http://{unique_name}.localhost:{clone.http_port}/"
        assert "Hello from Flatrun" in hello(clone, unique_name)
        started = engine.inspect_container(clone.proxy)["State"]["StartedAt"]
        assert session.get(value(first.stdout, "Documentation"), timeout=10).ok
        key = value(first.stdout, "Admin key")
        url = value(first.stdout, "Panel") + "/api/deployments"
        listed = session.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=10).json()
        assert [(item["name"], item["status"]) for item in listed] == [(unique_name, "running")]

        assert plugin_states(session, value(first.stdout, "Panel"), key) == {
            path.parent.name: "active" for path in clone.folder.glob("plugins/*/setup.cfg")
        }

        password = check_login(session, first.stdout)
        assert files_with(password, clone.state) == []

        again = clone.run("up", *clone.options)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "==>" not in again.stdout
        assert password not in again.stdout
        assert without_password(again.stdout) == without_password(first.stdout)
        assert engine.inspect_container(clone.proxy)["State"]["StartedAt"] == started

        check_reset(session, again.stdout, password)

        # A deployment of the person is theirs: it stays, and so do the settings with the key.
        mine = {"name": "mine", "compose": "services:\n  a:\n    image: none\n"}
        made = session.post(url, json=mine, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        assert made.status_code == 201, made.text
        text = (clone.state / "deployments/mine/docker-compose.yml").read_bytes()
    finally:
        down = clone.run("down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert "mine" in down.stdout
    assert (clone.state / "deployments/mine/docker-compose.yml").read_bytes() == text
    assert key in (clone.state / "flatrun.yml").read_text()
    assert Traces(engine).of({unique_name}) == []
    assert len(proxies(engine, clone)) == 2
    with pytest.raises(requests.ConnectionError):
        session.get(url, timeout=5)

    shutil.rmtree(clone.state / "deployments/mine")
    last = clone.run("down")
    assert last.returncode == 0, last.stdout + last.stderr
    assert not clone.state.exists()
    assert proxies(engine, clone) == []
    assert flatrun_images(engine) <= images
    assert not (clone.folder / ".venv").exists()
    assert clone.run("down").returncode == 0


def test_a_name_that_somebody_has_already_is_refused_before_anything_is_written(
    clone: Clone, engine: docker.APIClient
) -> None:
    engine.create_network(clone.proxy)
    done = clone.run("up", *clone.options)
    try:
        assert done.returncode == 1
        assert f"The Docker Engine has a network called {clone.proxy} already." in done.stderr
        assert "--proxy-name" in done.stderr
        assert not (clone.state / "flatrun.yml").exists()
    finally:
        assert clone.run("down").returncode == 0
    assert [item["Name"] for item in engine.networks(names=[clone.proxy])] == [clone.proxy]
