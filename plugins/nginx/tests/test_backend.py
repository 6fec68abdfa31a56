"""The backend beside applying: its token, where it answers, targets, names, the start of the panel."""

import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

import flatrun_deployments.plugin as deployments_plugin
from flatrun_core import Failed, Invalid
from flatrun_core.ports.proxy import Route
from flatrun_nginx import names, plugin
from flatrun_nginx.life import LIFE


def test_the_token_is_made_once_and_kept(world: Any) -> None:
    token = world.backend.token()
    assert len(token) == 64
    assert int(token, 16)
    assert world.fresh().token() == token
    assert world.backend.accepts(token)
    assert not world.backend.accepts(token[:-1])
    assert not world.backend.accepts(token + "\ud800")
    path = world.folder.parent / ".flatrun" / "nginx-internal.key"
    assert path.stat().st_mode & 0o777 == 0o600


def test_many_at_once_get_one_token(world: Any) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(world.backend.token())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_token_of_the_settings_comes_first(make_world: Callable[..., Any]) -> None:
    world = make_world(**{"nginx.internal_api_token": "t" * 40})
    assert world.backend.accepts("t" * 40)
    assert not (world.folder.parent / ".flatrun" / "nginx-internal.key").exists()


def test_a_damaged_token_is_never_overwritten(world: Any) -> None:
    world.backend.token()
    path = world.folder.parent / ".flatrun" / "nginx-internal.key"
    for text in (b"", b"short", b"\xe9" * 64):
        path.write_bytes(text)
        with pytest.raises(Failed) as caught:
            world.backend.token()
        assert caught.value.code == "KEY_UNREADABLE"
        assert path.read_bytes() == text


def test_the_token_is_in_no_answer(world: Any, flatrun_client: Any) -> None:
    settings = flatrun_client(world.app).get("/api/settings").get_json()["settings"]["nginx"]
    assert settings["container_name"] == "edge"
    assert not [key for key in settings if "token" in key]


def test_answers_on_published_ports_first_and_on_its_own_address(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    fake = world.engine._find("edge")
    fake.ports = ("0.0.0.0:8081->80/tcp", "[::]:8081->80/tcp", ":::8444->443/tcp", "127.0.0.1:9->9/tcp")
    fake.document["NetworkSettings"] = {
        "Networks": {"other": {"IPAddress": "10.0.0.2"}, "proxy": {"IPAddress": "10.0.0.1"}, "none": None}
    }
    found = world.backend.endpoints()
    assert found.http == (("127.0.0.1", 8081), ("::1", 8081), ("10.0.0.1", 80), ("10.0.0.2", 80))
    assert found.https == (("::1", 8444), ("10.0.0.1", 443), ("10.0.0.2", 443))


def test_tells_of_targets_that_are_away_and_of_those_that_do_not_listen(world: Any) -> None:
    document = {
        "NetworkSettings": {"Networks": {"proxy": {"Aliases": ["blog-web"], "IPAddress": "127.0.0.1"}}}
    }
    labels = {"com.docker.compose.project": "renamed", "com.docker.compose.service": "web"}
    world.engine.add("web", labels=labels, networks={"proxy": ()}, document=document)
    told = world.backend.probe(
        [Route("/", "blog-web", 1), Route("/x", "blog-web", 1), Route("/", "shop-web", 80)]
    )
    assert len(told) == 2
    assert "blog-web takes no connection on port 1: Connection refused" in told[0]
    assert "No running container is called shop-web on the network proxy" in told[1]


def test_a_target_that_listens_is_no_matter(world: Any) -> None:

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        document = {
            "NetworkSettings": {"Networks": {"proxy": {"Aliases": ["blog-web"], "IPAddress": "127.0.0.1"}}}
        }
        labels = {"com.docker.compose.project": "blog", "com.docker.compose.service": "web"}
        world.engine.add("web", labels=labels, networks={"proxy": ()}, document=document)
        assert list(world.backend.probe([Route("/", "blog-web", listening.getsockname()[1])])) == []
    world.engine.down = True
    assert len(world.backend.probe([Route("/", "blog-web", 1)])) == 1


@pytest.mark.parametrize("name", ["nginx", "default", "00-flatrun-panel", "00-flatrunner", "rate_limits"])
def test_names_of_its_files_are_kept(name: str) -> None:
    draft: Any = SimpleNamespace(name=name)
    with pytest.raises(Invalid) as caught:
        names.refuse_reserved(draft)
    assert caught.value.code == "RESERVED_NAME"
    assert names.refuse_reserved(SimpleNamespace(name="my-nginx")) is None  # type: ignore[arg-type]


def test_no_deployment_is_made_with_such_a_name(
    flatrun_app: Callable[..., Flask], flatrun_client: Callable[..., Any]
) -> None:
    client = flatrun_client(flatrun_app(plugins=[deployments_plugin, plugin]))
    body = {"name": "default", "compose_content": "services:\n  web:\n    image: busybox\n"}
    answer = client.post("/api/deployments", json=body)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "RESERVED_NAME")


def test_the_start_repairs_and_serves(world: Any, make_site: Any) -> None:
    world.contributor.sites = [make_site("blog")]
    (world.conf / ".staging-0123").mkdir(parents=True)
    life = world.service(LIFE)
    life.start()
    life.stop()
    assert not (world.conf / ".staging-0123").exists()
    assert world.backend.status("blog").exists
    assert world.container.state == "running"


def test_nothing_at_the_start_stops_the_panel(world: Any, make_site: Any, caplog: Any) -> None:
    world.contributor.sites = [make_site("blog")]
    for failure in (RuntimeError("broken"), Failed("no")):
        world.contributor.failure = failure
        world.service(LIFE).repair()
    assert "could not be set up" in caplog.text


def test_at_the_start_a_set_that_nobody_tested_is_tested(world: Any, make_site: Any) -> None:
    sites = [make_site("blog")]
    world.backend.apply(sites, set(), False)
    (world.conf / "own.conf").write_text("no_such_directive on;\n")
    applied = world.fresh().apply(sites, set(), False)
    assert list(applied.quarantined) == ["own"]


def test_a_folder_that_cannot_be_written_is_said(world: Any, make_site: Any) -> None:
    world.folder.mkdir(parents=True)
    world.conf.symlink_to("/dev/null")
    with pytest.raises(Failed) as caught:
        world.backend.apply([make_site("blog")], {"blog"}, False)
    assert caught.value.code == "PROXY_CONFIG_FAILED"
