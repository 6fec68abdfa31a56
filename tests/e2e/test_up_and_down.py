"""`scripts/up` and `scripts/down` on a copy of the tree, with the real Engine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import docker
import pytest
import requests
from flatrun_e2e.ports import Ports
from flatrun_e2e.traces import Traces

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ("scripts", "examples", "plugins", "flatrun_core")


class Clone:
    """A copy of the repository, as fresh as a clone."""

    def __init__(self, folder: Path, name: str, ports: Ports) -> None:
        self.folder = folder
        self.state = folder / ".flatrun"
        self.options = ["--yes", "--port", str(ports.next())]
        self.options += ["--site-port", str(ports.next()), "--site-name", name]
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
def clone(tmp_path: Path, unique_name: str, ports: Ports) -> Clone:
    return Clone(tmp_path / "clone", unique_name, ports)


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


def files_with(text: str, folder: Path) -> list[Path]:
    """Return the files that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_site_answers_after_up_twice_and_nothing_is_left_after_down(
    clone: Clone, engine: docker.APIClient, unique_name: str
) -> None:
    first = clone.run("up", *clone.options)
    try:
        assert first.returncode == 0, first.stdout + first.stderr
        session = requests.Session()
        session.trust_env = False
        assert "Hello from Flatrun" in session.get(value(first.stdout, "Site"), timeout=10).text
        assert session.get(value(first.stdout, "Documentation"), timeout=10).ok
        key = value(first.stdout, "Admin key")
        url = value(first.stdout, "Panel") + "/api/deployments"
        listed = session.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=10).json()
        assert [(item["name"], item["status"]) for item in listed] == [(unique_name, "running")]

        assert plugin_states(session, value(first.stdout, "Panel"), key) == {
            path.parent.name: "active" for path in clone.folder.glob("plugins/*/setup.cfg")
        }

        name, password = value(first.stdout, "Administrator"), value(first.stdout, "Password").split()[0]
        assert name == "admin"
        login = {"username": name, "password": password}
        login_url = value(first.stdout, "Panel") + "/api/auth/login"
        assert session.post(login_url, json=login, timeout=30).json()["user"]["role"] == "admin"
        assert files_with(password, clone.state) == []

        again = clone.run("up", *clone.options)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "==>" not in again.stdout
        assert password not in again.stdout
        assert without_password(again.stdout) == without_password(first.stdout)

        command = [*shlex.split(value(again.stdout, "New password")), "--generate"]
        reset = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert reset.returncode == 0, reset.stderr
        assert session.post(login_url, json=login, timeout=30).status_code == 401
        login["password"] = value(reset.stdout, "Password:")
        assert session.post(login_url, json=login, timeout=30).status_code == 200

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
    with pytest.raises(requests.ConnectionError):
        session.get(url, timeout=5)

    shutil.rmtree(clone.state / "deployments/mine")
    assert clone.run("down").returncode == 0
    assert not clone.state.exists()
    assert not (clone.folder / ".venv").exists()
    assert clone.run("down").returncode == 0
