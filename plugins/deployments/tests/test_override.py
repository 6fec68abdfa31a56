import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flatrun_core.errors import Conflict
from flatrun_deployments import override
from flatrun_deployments.discovery import Discovery, Folder
from flatrun_deployments.override import alias, project, render, write_if_changed

Load = Callable[..., Folder]
WEB = "services: {web: {image: x, ports: ['80']}, db: {image: y}}\n"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(compose: str = WEB, service: str = "", env: str = "", **files: str) -> Folder:
        path = tmp_path / "my-app"
        path.mkdir(exist_ok=True)
        (path / "docker-compose.yml").write_text(compose)
        for name, text in {"service.yml": service, ".env.flatrun": env, **files}.items():
            if text:
                (path / name).write_text(text)
        folder = Discovery(lambda: tmp_path).get("my-app")
        assert folder is not None
        return folder

    return load


def rendered(folder: Folder, routed: dict[str, list[str]] | None = None) -> Any:
    text = render(folder, routed or {}, "proxy")
    assert text is not None
    assert text.startswith("# Made by Flatrun")
    return yaml.safe_load(text)


def test_nothing_to_add_gives_no_file(load: Load) -> None:
    assert render(load(), {}, "proxy") is None


def test_a_broken_compose_file_gives_none(load: Load) -> None:
    assert render(load("a: [", "networking: {host_port: 80}"), {"web": ["a"]}, "proxy") is None


def test_the_port_is_published_on_the_primary_service(load: Load) -> None:
    folder = load(service="networking: {host_port: 9000}\n")
    assert rendered(folder) == {"services": {"web": {"ports": ["9000:80"]}}}
    folder = load(service="networking: {host_port: 9000, service: db, container_port: 5432}\n")
    assert rendered(folder) == {"services": {"db": {"ports": ["9000:5432"]}}}


def test_routed_services_join_the_proxy_and_keep_their_own_network(load: Load) -> None:
    assert rendered(load(), {"web": [alias("my-app", "web")], "unknown": ["x"]}) == {
        "services": {"web": {"networks": {"default": None, "flatrun_proxy": {"aliases": ["my-app-web"]}}}},
        "networks": {"flatrun_proxy": {"name": "proxy", "external": True}},
    }


@pytest.mark.parametrize(
    ("networks", "key"),
    [
        ("proxy: {external: true}", "proxy"),
        ("edge: {name: proxy, external: true}", "edge"),
        ("edge: {name: '${NET}', external: true}", "edge"),
        ("proxy: {name: other}", "flatrun_proxy"),
        ("flatrun_proxy: {}", "flatrun_proxy_"),
    ],
)
def test_the_users_own_declaration_of_the_network_is_used(load: Load, networks: str, key: str) -> None:
    compose = f"services: {{web: {{image: x, networks: [inner]}}}}\nnetworks: {{inner: {{}}, {networks}}}\n"
    content = rendered(load(compose, env="NET=proxy\n"), {"web": ["a"]})
    assert content["services"]["web"]["networks"] == {key: {"aliases": ["a"]}}
    assert content["networks"] == {key: {"name": "proxy", "external": True}}


def test_networks_that_plugins_ask_for_are_joined_by_all(load: Load) -> None:
    compose = "services: {web: {image: x}, db: {image: y, network_mode: host}}\n"
    content = rendered(load(compose, "networking: {networks: [database, a.b]}\n"), {"web": ["a"]})
    assert content["services"] == {
        "web": {
            "networks": {
                "default": None,
                "flatrun_database": None,
                "flatrun_a_b": None,
                "flatrun_proxy": {"aliases": ["a"]},
            }
        }
    }
    assert content["networks"]["flatrun_a_b"] == {"name": "a.b", "external": True}


@pytest.mark.parametrize("mode", ["host", "none", "service:web"])
def test_services_that_cannot_join_networks_are_left_out(load: Load, mode: str) -> None:
    assert (
        render(load(f"services: {{web: {{image: x, network_mode: '{mode}'}}}}\n"), {"web": ["a"]}, "proxy")
        is None
    )


def test_the_same_facts_give_the_same_bytes(load: Load) -> None:
    folder = load(service="networking: {host_port: 9000}\n")
    assert render(folder, {"web": ["a", "b"]}, "proxy") == render(folder, {"web": ("a", "b")}, "proxy")


def test_it_is_written_only_when_it_changes(load: Load) -> None:
    folder = load()
    assert not write_if_changed(folder, None)
    assert write_if_changed(folder, "services: {}\n")
    inode = folder.override.stat().st_ino
    assert not write_if_changed(folder, "services: {}\n")
    assert folder.override.stat().st_ino == inode
    assert write_if_changed(folder, "services: {a: {}}\n")
    assert write_if_changed(folder, None)
    assert not folder.override.exists()


@pytest.mark.parametrize("kind", ["link", "fifo"])
@pytest.mark.parametrize("text", [None, "services: {}\n"])
def test_something_odd_in_its_place_is_replaced_and_not_written_through(
    load: Load, kind: str, text: str | None
) -> None:
    folder = load()
    outside = folder.path.parent / "outside"
    outside.write_text("kept")
    if kind == "link":
        folder.override.symlink_to("../outside")
    else:
        os.mkfifo(folder.override)
    assert write_if_changed(folder, text)
    assert outside.read_text() == "kept"
    assert not folder.override.is_symlink()
    assert folder.override.is_file() == (text is not None)


def test_the_project_passes_ours_last(load: Load) -> None:
    folder = load(env="A=1\n", **{"compose.override.yml": "services: {}\n"})
    files = ["docker-compose.yml", "compose.override.yml"]
    assert [path.name for path in project(folder).files] == files
    write_if_changed(folder, "services: {}\n")
    found = project(folder, {"DOCKER_CONFIG": "/x"})
    assert [path.name for path in found.files] == [*files, override.FILENAME]
    assert (found.name, found.directory) == ("my-app", folder.path)
    assert found.env_files == (folder.path / ".env.flatrun",)
    assert found.env == {
        "FLATRUN_UID": str(os.getuid()),
        "FLATRUN_GID": str(os.getgid()),
        "DOCKER_CONFIG": "/x",
    }


def test_without_variables_there_is_no_file_of_them(load: Load) -> None:
    assert project(load()).env_files == ()


def test_the_users_own_variables_come_before_ours(load: Load) -> None:
    folder = load(env="A=1\n", **{".env": "A=2\n"})
    assert project(folder).env_files == (folder.path / ".env", folder.path / ".env.flatrun")


def test_a_blocked_project_is_refused_and_a_broken_service_yml_is_not(load: Load) -> None:
    with pytest.raises(Conflict) as caught:
        project(load("a: ["))
    assert caught.value.code == "COMPOSE_INVALID"
    assert project(load(WEB, "a: [")).files
