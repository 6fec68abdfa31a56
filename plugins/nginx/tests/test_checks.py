"""What ``flatrun doctor`` says of nginx."""

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Finding
from flatrun_nginx import checks


@pytest.fixture
def look(world: Any) -> Callable[[str], Finding]:
    """Run one of the checks by its name."""
    found = {check.name: check for check in checks.checks(world.backend._ctx)}
    return lambda name: found[f"nginx-{name}"].run()


def test_nothing_is_wrong_before_the_first_site(world: Any, look: Any) -> None:
    assert [look(name).status for name in ("files", "lua")] == ["ok", "ok"]


def test_one_that_runs_is_well(world: Any, look: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    assert look("container") == Finding("ok", "the container edge runs")
    assert look("lua") == Finding("ok", "nginx 1.22.1 has it")


def test_a_restart_loop_is_told_with_the_last_line(world: Any, look: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.engine.write_log("edge", "nginx: [emerg] bind() failed")
    world.engine.set_state("edge", "restarting")
    found = look("container")
    assert found.status == "error"
    assert "bind() failed" in found.message
    assert "docker logs edge" in found.remedy


def test_a_stopped_one_and_an_engine_that_is_away_are_told(world: Any, look: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.engine.stop(world.container.id)
    assert look("container").status == "warning"
    world.engine.down = True
    assert look("container").status == "error"


def test_a_port_that_something_else_has_is_told(make_world: Callable[..., Any], make_site: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        world = make_world(**{"nginx.http_port": port, "nginx.bind_address": "127.0.0.1"})
        found = checks.container(world.backend._ctx)
    assert found.status == "error"
    assert f"port {port}" in found.message
    assert "nginx.http_port" in found.remedy


def test_an_absent_one_that_has_sites_is_told(
    make_world: Callable[..., Any], make_site: Any, free_port: int, another_port: int
) -> None:
    world = make_world(
        **{"nginx.http_port": free_port, "nginx.https_port": another_port, "nginx.bind_address": "127.0.0.1"}
    )
    world.compose.fail_next("pull access denied", command="run")
    world.backend.apply([make_site("blog")], {"blog"}, False)
    found = checks.container(world.backend._ctx)
    assert (found.status, "edge has not been made yet" in found.message) == ("error", True)


def test_an_external_one_that_is_absent_is_told(make_world: Callable[..., Any]) -> None:
    world = make_world(**{"nginx.external": True})
    assert "nginx.external" in checks.container(world.backend._ctx).message


def test_files_that_are_left_out_are_named(world: Any, look: Any, make_site: Any, spoiled: Any) -> None:
    sites = [make_site("blog"), *(spoiled(f"shop-{number}") for number in range(5))]
    world.backend.apply(sites, {"blog"}, False)
    found = look("files")
    assert found.status == "warning"
    assert "shop-0" in found.message
    assert "and 2 more" in found.message


def test_an_image_without_lua_is_told(world: Any, look: Any, make_site: Any) -> None:
    world.nginx.listing = "/etc/nginx:\nmime.types\n"
    world.backend.apply([make_site("blog")], {"blog"}, False)
    found = look("lua")
    assert found.status == "warning"
    assert "openresty/openresty:alpine" in found.remedy


def test_switched_off_nothing_is_asked(make_world: Callable[..., Any]) -> None:
    world = make_world(**{"nginx.enabled": False})
    assert {checks.container(world.backend._ctx).status, checks.lua(world.backend._ctx).status} == {"ok"}
    assert world.engine.calls == []


def test_a_paused_one_is_told_with_what_lets_it_go_on(world: Any, look: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.engine.set_state("edge", "paused")
    found = look("container")
    assert "is paused" in found.message
    assert "docker unpause edge" in found.remedy


def test_other_mounts_are_named(world: Any, look: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.engine._find("edge").document["Mounts"] = []
    found = look("container")
    assert found.status == "warning"
    assert "/etc/nginx/conf.d" in found.message


def make_free(make_world: Any, two_ports: tuple[int, int]) -> Any:
    http, https = two_ports
    return make_world(
        **{"nginx.http_port": http, "nginx.https_port": https, "nginx.bind_address": "127.0.0.1"}
    )


def test_one_that_was_removed_is_told_apart_from_one_that_was_never_made(
    make_world: Any, make_site: Any, two_ports: tuple[int, int]
) -> None:
    world = make_free(make_world, two_ports)
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.backend.apply([make_site("blog")], set(), True)
    world.engine.destroy(world.container.id)
    assert "edge was removed" in checks.container(world.backend._ctx).message


def test_an_image_that_is_not_there_is_told(
    make_world: Any, make_site: Any, two_ports: tuple[int, int]
) -> None:
    world = make_free(make_world, two_ports)
    world.engine.missing_images.add("test/nginx:1")
    world.compose.fail_next("pull access denied", command="run")
    world.backend.apply([make_site("blog")], {"blog"}, False)
    found = checks.container(world.backend._ctx)
    assert "image test/nginx:1 is not on this host" in found.message
    assert "docker pull test/nginx:1" in found.remedy


def test_a_bad_file_is_told_once_by_its_own_name(world: Any, look: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    (world.conf / "own.conf").write_text("no_such_directive on;\n")
    world.backend.apply([make_site("blog")], set(), False)
    found = look("files")
    assert found.message.count("own.conf") == 1
    assert "/etc/nginx/conf.d/own.conf:1" in found.message
    assert found.remedy.endswith("/own.conf.quarantined")


def test_a_folder_that_cannot_be_written_or_is_not_ours_is_told(
    world: Any, look: Any, make_site: Any, make_world: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written to" in look("files").message
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").write_text("")
    other = make_world(**{"nginx.config_path": str(tmp_path / "x" / "conf.d")})
    assert "nginx.config_path cannot be used" in checks.files(other.backend._ctx).message
