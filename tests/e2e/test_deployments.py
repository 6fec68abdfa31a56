"""Real deployments of several services, seen through our API, through Docker's, and over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
from flatrun_e2e.panel import PanelProcess
from flatrun_e2e.sites import SERVICE, WEB, compose_of, containers, create, eventually, item, page


def test_several_services_live_from_creation_to_removal(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str, free_port: int
) -> None:
    panel, name = module_panel, unique_name
    text = compose_of(busybox_image, cache={}, web={**WEB, "depends_on": ["cache"]}, worker={})
    body = create(panel, name, text, port=free_port, auto_start=True)
    assert "Started" in body["start_output"]
    assert page(free_port) == "flatrun test page\n"
    assert {c["Labels"][SERVICE] for c in containers(engine, name)} == {"cache", "web", "worker"}
    assert item(panel, name)["status"] == "running"

    detail = panel.get(f"/api/deployments/{name}").json()
    assert detail["compose_content"] == text
    assert (panel.root / name / "docker-compose.yml").read_text() == text
    web = next(service for service in detail["deployment"]["services"] if service["name"] == "web")
    (real,) = containers(engine, name, "web")
    assert web["container_id"] == real["Id"][:12]
    assert web["ports"] == [f"{free_port}:80", "80"]
    assert web["networks"] == [f"{name}_default"]

    before = real["Id"]
    assert panel.post(f"/api/deployments/{name}/start").status_code == 200
    assert containers(engine, name, "web")[0]["Id"] == before
    assert panel.post(f"/api/deployments/{name}/stop").json()["message"] == "Deployment stopped"
    assert {c["State"] for c in containers(engine, name)} == {"exited"}
    assert item(panel, name)["status"] == "stopped"
    assert panel.post(f"/api/deployments/{name}/stop").status_code == 200
    assert panel.post(f"/api/deployments/{name}/restart").json()["message"] == "Deployment restarted"
    assert containers(engine, name, "web")[0]["Id"] != before
    assert page(free_port) == "flatrun test page\n"

    answer = panel.delete(f"/api/deployments/{name}?remove_files=true")
    assert answer.json() == {
        "message": "Deployment deleted",
        "name": name,
        "files_removed": True,
        "deleted_items": [],
    }
    assert containers(engine, name) == []
    assert engine.networks(names=[f"{name}_default"]) == []
    assert not (panel.root / name).exists()


def test_a_healthcheck_shows_and_an_unhealthy_service_is_an_error(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    check = {"interval": "1s", "timeout": "2s", "retries": 2}
    text = compose_of(
        busybox_image,
        web={**WEB, "healthcheck": {**check, "test": ["CMD", "wget", "-q", "-O", "-", "http://127.0.0.1/"]}},
        switch={"healthcheck": {**check, "test": ["CMD", "test", "!", "-e", "/broken"]}},
    )
    create(module_panel, unique_name, text, auto_start=True)

    def health() -> list[str]:
        return [service["health"] for service in item(module_panel, unique_name)["services"]]

    eventually(health, ["healthy", "healthy"])
    assert item(module_panel, unique_name)["status"] == "running"
    detail = module_panel.get(f"/api/deployments/{unique_name}").json()["deployment"]["services"]
    subprocess.run(["docker", "exec", detail[1]["container_id"], "touch", "/broken"], check=True)
    eventually(health, ["healthy", "unhealthy"])
    assert item(module_panel, unique_name)["status"] == "error"


def test_a_crash_loop_is_an_error_and_stop_ends_it(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    crash = {"command": ["sh", "-c", "sleep 0.2; exit 3"], "restart": "always"}
    create(module_panel, unique_name, compose_of(busybox_image, web=WEB, crash=crash), auto_start=True)
    eventually(lambda: item(module_panel, unique_name)["services"][1]["status"], "restarting")
    assert item(module_panel, unique_name)["status"] == "error"
    assert module_panel.post(f"/api/deployments/{unique_name}/stop").status_code == 200
    eventually(lambda: {c["State"] for c in containers(engine, unique_name)}, {"exited"})
    assert item(module_panel, unique_name)["services"][0]["status"] == "exited"


def test_a_service_that_ended_by_itself_with_success_is_no_error(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    text = compose_of(busybox_image, web=WEB, setup={"command": ["true"]})
    create(module_panel, unique_name, text, auto_start=True)
    eventually(
        lambda: [s["status"] for s in item(module_panel, unique_name)["services"]], ["running", "exited"]
    )
    assert item(module_panel, unique_name)["status"] == "running"


def test_a_build_section_is_built_from_the_deployments_folder(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str, free_port: int
) -> None:
    name, folder = unique_name, module_panel.root / unique_name
    text = compose_of(busybox_image, web={**WEB, "build": "./site"})
    create(module_panel, name, text, port=free_port)
    assert item(module_panel, name)["status"] == "stopped"
    (folder / "site").mkdir()
    (folder / "site/index.html").write_text("built page\n")
    (folder / "site/Dockerfile").write_text(f"FROM {busybox_image}\nCOPY index.html /www/index.html\n")
    answer = module_panel.post(f"/api/deployments/{name}/start")
    assert answer.status_code == 200, answer.text
    assert page(free_port) == "built page\n"
    assert containers(engine, name, "web")[0]["Image"] == f"{name}-web"


def test_a_named_volume_outlives_restart_and_removal_until_it_is_told_to_go(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    name = unique_name
    writer = {"command": ["sh", "-c", "date >> /data/starts; sleep 600"], "volumes": ["data:/data"]}
    text = compose_of(busybox_image, web=writer)

    def starts() -> int:
        (container,) = containers(engine, name, "web")
        argv = ["docker", "exec", container["Id"], "wc", "-l", "/data/starts"]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        return int(done.stdout.split()[0]) if done.returncode == 0 else 0

    create(module_panel, name, text, auto_start=True)
    eventually(starts, 1)
    module_panel.post(f"/api/deployments/{name}/restart")
    eventually(starts, 2)
    module_panel.delete(f"/api/deployments/{name}")
    assert [volume["Name"] for volume in engine.volumes(filters={"name": name})["Volumes"]] == [
        f"{name}_data"
    ]
    create(module_panel, name, text, auto_start=True)
    eventually(starts, 3)
    answer = module_panel.delete(f"/api/deployments/{name}?remove_files=true&remove_volumes=true")
    assert answer.json()["files_removed"] is True
    assert engine.volumes(filters={"name": name})["Volumes"] in ([], None)


def test_two_replicas_are_one_service_and_the_worst_of_them_speaks(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    text = compose_of(busybox_image, web={**WEB, "deploy": {"replicas": 2}})
    create(module_panel, unique_name, text, auto_start=True)
    assert len(containers(engine, unique_name, "web")) == 2
    assert [s["status"] for s in item(module_panel, unique_name)["services"]] == ["running"]
    second = next(c for c in containers(engine, unique_name) if c["Names"][0].endswith("-2"))
    engine.kill(second["Id"], signal="KILL")
    eventually(lambda: item(module_panel, unique_name)["services"][0]["status"], "exited")
    assert item(module_panel, unique_name)["status"] == "running"
    module_panel.post(f"/api/deployments/{unique_name}/start")
    eventually(lambda: item(module_panel, unique_name)["services"][0]["status"], "running")


def test_variables_reach_the_containers_and_an_edited_file_takes_effect_at_a_restart(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    value = 'it\'s "quoted" # and $HOME\nsecond line'
    text = compose_of(busybox_image, web={"environment": {"TOLD": "${TOLD}", "U": "${FLATRUN_UID}"}})
    variables = [{"key": "TOLD", "value": value}]
    create(module_panel, unique_name, text, auto_start=True, env_vars=variables)

    def told() -> set[str]:
        (container,) = containers(engine, unique_name)
        return set(engine.inspect_container(container["Id"])["Config"]["Env"])

    assert {f"TOLD={value}", f"U={os.getuid()}"} <= told()
    file = module_panel.root / unique_name / ".env.flatrun"
    file.write_text("# by hand\nTOLD=edited\n")
    module_panel.post(f"/api/deployments/{unique_name}/restart")
    assert "TOLD=edited" in told()
    assert file.read_text() == "# by hand\nTOLD=edited\n"


def test_the_users_own_variables_are_read_beside_ours(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str, ports: Any
) -> None:
    first, second = ports.next(), ports.next()
    environment = {"THEIRS": "${THEIRS}", "OURS": "${OURS}", "BOTH": "${BOTH}"}
    web = {**WEB, "ports": ["${PORT:-0}:80"], "environment": environment}
    variables = [{"key": "OURS", "value": "from the panel"}, {"key": "BOTH", "value": "from the panel"}]
    create(module_panel, unique_name, compose_of(busybox_image, web=web), env_vars=variables)
    own = module_panel.root / unique_name / ".env"
    for port in (first, second):
        own.write_text(f"THEIRS=from the user\nBOTH=from the user\nPORT={port}\n")
        detail = module_panel.get(f"/api/deployments/{unique_name}").json()["deployment"]
        assert f"{port}:80" in detail["services"][0]["ports"]
        assert module_panel.post(f"/api/deployments/{unique_name}/start").status_code == 200
        (container,) = containers(engine, unique_name)
        told = set(engine.inspect_container(container["Id"])["Config"]["Env"])
        assert {"THEIRS=from the user", "OURS=from the panel", "BOTH=from the panel"} <= told
        assert page(port) == "flatrun test page\n"


def test_the_users_own_override_comes_before_ours(
    module_panel: PanelProcess, busybox_image: str, unique_name: str, ports: Any
) -> None:
    mine, theirs = ports.next(), ports.next()
    create(module_panel, unique_name, compose_of(busybox_image, web=WEB), port=mine)
    override = json.dumps({"services": {"web": {"ports": [f"{theirs}:80"]}}})
    (module_panel.root / unique_name / "compose.override.yml").write_text(override)
    assert module_panel.post(f"/api/deployments/{unique_name}/start").status_code == 200
    assert page(mine) == page(theirs) == "flatrun test page\n"


def test_files_of_containers_users_go_with_the_folder(
    module_panel: PanelProcess, busybox_image: str, unique_name: str, tmp_path: Path
) -> None:
    (tmp_path / "keep").write_text("keep")
    make = "mkdir -p /data/a/b && echo x > /data/a/b/c && chmod 000 /data/a/b"
    script = f"{make} && chown -R 4242:4242 /data/a && sleep 600"
    text = compose_of(
        busybox_image, web={"command": ["sh", "-c", script], "volumes": ["./data:/data"], "user": "0:0"}
    )
    create(module_panel, unique_name, text, auto_start=True)
    folder = module_panel.root / unique_name
    eventually(lambda: (folder / "data/a").exists() and (folder / "data/a").stat().st_uid, 4242)
    (folder / "data/link").symlink_to(tmp_path)
    answer = module_panel.delete(f"/api/deployments/{unique_name}?remove_files=true")
    assert answer.json()["files_removed"] is True, answer.text
    assert not folder.exists()
    assert (tmp_path / "keep").read_text() == "keep"


def test_what_is_started_by_hand_shows_and_belongs_to_its_deployment(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    folder = module_panel.root / unique_name
    folder.mkdir()
    (folder / "compose.yaml").write_text(compose_of(busybox_image, web=WEB))
    assert item(module_panel, unique_name)["status"] == "stopped"
    subprocess.run(["docker", "compose", "up", "-d"], cwd=folder, check=True, capture_output=True)
    eventually(lambda: item(module_panel, unique_name)["status"], "running")
    subprocess.run(["docker", "compose", "down"], cwd=folder, check=True, capture_output=True)
    eventually(lambda: item(module_panel, unique_name)["status"], "stopped")


def test_two_folders_on_one_project_cannot_stop_each_others_containers(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    panel, name, other = module_panel, unique_name, f"{unique_name}-hand"
    text = compose_of(busybox_image, web={})
    folder = panel.root / other
    folder.mkdir()
    (folder / "compose.yaml").write_text(json.dumps({"name": name, **json.loads(text)}))
    answer = panel.post("/api/deployments", {"name": name, "compose": text})
    assert (answer.status_code, answer.json()["code"]) == (409, "PROJECT_IN_USE")
    assert other in answer.json()["error"]
    assert not (panel.root / name).exists()

    (panel.root / name).mkdir()
    (panel.root / name / "compose.yaml").write_text(text)
    subprocess.run(["docker", "compose", "up", "-d"], cwd=panel.root / name, check=True, capture_output=True)
    eventually(lambda: [item(panel, each)["status"] for each in (name, other)], ["error", "error"])
    for each in (name, other):
        at = f"/api/deployments/{each}"
        answers = [panel.post(f"{at}/{action}") for action in ("start", "stop", "restart")]
        answers += [panel.delete(at), panel.delete(f"{at}?remove_files=true")]
        assert {(refused.status_code, refused.json()["code"]) for refused in answers} == {
            (409, "PROJECT_IN_USE")
        }
    assert [c["State"] for c in containers(engine, name)] == ["running"]
    assert [p.name for p in folder.iterdir()] == ["compose.yaml"]

    (folder / "compose.yaml").write_text(text)
    assert panel.delete(f"/api/deployments/{other}?remove_files=true").status_code == 200
    assert item(panel, name)["status"] == "running"
    assert panel.delete(f"/api/deployments/{name}?remove_files=true").status_code == 200
    assert containers(engine, name) == []


def test_the_command_does_the_same_from_a_script(
    module_panel: PanelProcess, busybox_image: str, unique_name: str, free_port: int, tmp_path: Path
) -> None:
    module_panel.created.add(unique_name)
    file = tmp_path / "site.yml"
    file.write_text(compose_of(busybox_image, web=WEB))

    def flatrun(*arguments: str, code: int = 0) -> str:
        program = Path(sys.executable).with_name("flatrun")
        argv = [str(program), "--config", str(module_panel.config), "deployments", *arguments]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    created = flatrun("create", unique_name, "-f", str(file), "--port", str(free_port), "--start")
    assert created == f"Created {unique_name} and started it\n"
    assert page(free_port) == "flatrun test page\n"
    assert f"{unique_name}  running  1/1 running" in flatrun("list")
    assert {each["name"] for each in json.loads(flatrun("list", "--json"))} >= {unique_name}
    assert flatrun("stop", unique_name) == f"{unique_name}: stopped\n"
    assert flatrun("start", unique_name) == f"{unique_name}: started\n"
    assert "exists already" in flatrun("create", unique_name, "-f", str(file), code=1)
    assert "not found" in flatrun("stop", "e2e-nobody", code=1)
