"""What this plugin reads and writes means the same to the real ``docker compose``, which needs no Engine."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from flatrun_core.ports.docker import Project
from flatrun_deployments import env_file, override
from flatrun_deployments.discovery import Discovery, Folder

pytestmark = pytest.mark.e2e

VALUES = {
    "plain": "value",
    "empty": "",
    "words": "two words",
    "edge": " x ",
    "lines": "a\nb\n",
    "double": 'a"b',
    "single": "a'b",
    "both": "'\"'",
    "hash": "a # b",
    "dollar": "pa$$w$ord${X}",
    "backslash": "C:\\new\\dir\\",
    "tabs": "a\tb\r",
    "mixed": "\\n$\\$ \"#'\n",
    "equals": "a=b=c",
    "unicode": "ünï ☃",
    "json": '{"a": ["$b", "c\\n"]}',
    "tick": "`id`",
    "url": "mysql://u:p%40ss@h/db?x=1&y=2",
    "percent": "%d",
    "star": "*",
    "semi": "a;b",
    "trail": "a\\",
}

TEXTS = [
    "services: {web: {image: 'a:${TAG:-1}', ports: ['8080:80', '127.0.0.1:8081:81', '53:53/udp', 90]}}",
    "services: {web: {image: a, ports: ['[::1]:8082:82', '127.0.0.1::83', '84/udp', '${PORT:-1}:85']}}",
    "services: {web: {image: a, ports: [22:22, '3000-3001:4000-4001', {target: 7, published: '7070'}]}}",
    "name: shop\nservices: {b: {image: a, networks: [x, y]}, a: {build: .}}\nnetworks: {x: {name: q}, y: {}}",
    "x-b: &b {restart: always}\nservices: {web: {<<: *b, image: a, network_mode: host}}",
    "services: {web: {image: a, labels: {a: yes, b: 0o17, c: 1_000, d: 1e3, e: 017, f: ~, g: '08'}}}",
    "services:\r\n  web:\r\n    image: a",
    "\ufeffservices: {web: {image: a}}",
]


def config(project: Project) -> Any:
    files = [part for file in project.files for part in ("-f", str(file))]
    variables = [part for file in project.env_files for part in ("--env-file", str(file))]
    done = subprocess.run(
        ["docker", "compose", "-p", project.name, *files, *variables, "config", "--format", "json"],
        capture_output=True,
        check=True,
        cwd=project.directory,
        env={"PATH": os.environ["PATH"], "HOME": str(project.directory), **project.env},
    )
    return json.loads(done.stdout)


def load(root: Path, text: str, name: str = "My.App_1", **files: str) -> Folder:
    (root / name).mkdir()
    (root / name / "docker-compose.yml").write_bytes(text.encode())
    for file, content in files.items():
        (root / name / file.replace("_", ".")).write_text(content)
    folder = Discovery(lambda: root).get(name)
    assert folder is not None
    assert folder.problem == ""
    return folder


def test_variables_arrive_as_they_were_set(tmp_path: Path) -> None:
    keys = {f"V_{name.upper()}": value for name, value in VALUES.items()}
    environment = {key: f"${{{key}}}" for key in keys}
    text = yaml.safe_dump({"services": {"web": {"image": "a", "environment": environment}}})
    folder = load(tmp_path, text)
    env_file.update(folder.path / env_file.FILENAME, keys)
    again = Discovery(lambda: tmp_path).get(folder.name)
    assert again is not None
    seen = config(override.project(again))["services"]["web"]["environment"]
    # A dollar is doubled in the output, so that it could be read in again.
    assert {key: value.replace("$$", "$") for key, value in seen.items()} == keys


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_is_read_as_compose_reads_it(tmp_path: Path, text: str) -> None:
    folder = load(tmp_path, text, **{"_env": "PORT=1\n", "_env_flatrun": "PORT=9090\n"})
    seen = config(override.project(folder))
    assert folder.project == seen["name"]
    assert set(folder.compose.services) == set(seen["services"])
    for spec in folder.compose.services.values():
        service = seen["services"][spec.name]
        assert (spec.image or None) == service.get("image")
        assert spec.network_mode == service.get("network_mode", "")
        networks = {seen["networks"][key]["name"] for key in service.get("networks") or ()}
        assert set(spec.networks) == networks
    ports = [port for service in seen["services"].values() for port in service.get("ports") or ()]
    assert folder.compose.published == {
        (int(port["published"]), port["protocol"]) for port in ports if port.get("published")
    }
    document = folder.compose.document or {}
    for name, service in document["services"].items():
        for key, value in (service.get("labels") or {}).items():
            text_value = seen["services"][name]["labels"][key]
            assert text_value == (
                "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
            )


def test_our_file_adds_what_it_should(tmp_path: Path) -> None:
    text = (
        "services:\n"
        "  web: {image: a, ports: ['80']}\n"
        "  api: {image: a, networks: [inner, proxy]}\n"
        "  h: {image: a, network_mode: host}\n"
        "networks: {inner: {}, proxy: {external: true}}\n"
    )
    folder = load(
        tmp_path, text, "my-app", service_yml="networking: {host_port: 9000, networks: [database]}\n"
    )
    routed = {"web": ["my-app-web"], "api": ["my-app-api"]}
    override.write_if_changed(folder, override.render(folder, routed, "proxy"))
    seen = config(override.project(folder))
    services, networks = seen["services"], seen["networks"]
    joined = {
        name: {
            networks[key]["name"]: (value or {}).get("aliases")
            for key, value in (service.get("networks") or {}).items()
        }
        for name, service in services.items()
    }
    assert joined == {
        "web": {"my-app_default": None, "proxy": ["my-app-web"], "database": None},
        "api": {"my-app_inner": None, "proxy": ["my-app-api"], "database": None},
        "h": {},
    }
    assert {"target": 80, "published": "9000"}.items() <= services["web"]["ports"][1].items()
    assert networks["flatrun_database"]["external"] is True
