"""The container: made by the first site, left alone when a person stopped it, and how it is reported."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from flatrun_core import Failed, FlatrunError
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.settings import SETTINGS


def change(world: Any, **nginx: Any) -> Any:
    """Change settings as a request would."""
    return world.service(SETTINGS).change({"nginx": nginx}, SYSTEM)


def compose(world: Any) -> Any:
    return yaml.safe_load((world.folder / "docker-compose.yml").read_text())


def test_is_not_made_before_there_is_a_site(world: Any) -> None:
    applied = world.backend.apply([], set(), False)
    assert "does not run" in applied.message
    assert world.compose.calls == []
    assert (world.conf / "default.conf").exists()


def test_is_made_and_started_by_the_first_site(world: Any, make_site: Any) -> None:
    applied = world.backend.apply([make_site("blog")], {"blog"}, False)
    assert (applied.serving, applied.reloaded, applied.message) == (True, True, "")
    assert world.container.state == "running"
    assert world.container.networks == ("proxy",)
    service = compose(world)["services"]["nginx"]
    assert (service["container_name"], service["restart"]) == ("edge", "unless-stopped")
    assert {mount["target"] for mount in service["volumes"]} == {
        "/etc/nginx/conf.d",
        "/etc/letsencrypt/live",
        "/etc/letsencrypt/archive",
        "/usr/share/nginx/html",
        "/etc/nginx/ssl",
        "/etc/nginx/lua",
        "/run/flatrun",
        "/etc/nginx/nginx.conf",
    }
    assert yaml.safe_load((world.folder / "service.yml").read_text())["type"] == "infrastructure"
    assert ("nginx", "-t") in [args[:2] for args in world.compose.ran]


def test_is_not_started_with_a_set_that_it_refuses(world: Any, make_site: Any, spoiled: Any) -> None:
    applied = world.backend.apply([make_site("blog"), spoiled("shop")], {"blog"}, False)
    assert list(applied.quarantined) == ["shop"]
    assert applied.serving


def test_is_made_from_the_image_as_it_is(make_world: Callable[..., Any], make_site: Any) -> None:
    world = make_world(**{"nginx.bind_address": "::1", "nginx.http_port": 8081, "nginx.https_port": 8444})
    world.nginx.version = (
        "nginx version: openresty/1.27.1.1\n"
        "configure arguments: --prefix=/usr/local/openresty/nginx --with-cc-opt='-O2 -DX' "
        "--add-module=../ngx_lua-0.10.27 --conf-path=/usr/local/openresty/nginx/conf/nginx.conf\n"
    )
    world.backend.apply([make_site("blog")], {"blog"}, False)
    service = compose(world)["services"]["nginx"]
    assert service["volumes"][-1]["target"] == "/usr/local/openresty/nginx/conf/nginx.conf"
    assert [(port["host_ip"], port["published"]) for port in service["ports"]] == [
        ("::1", "8081"),
        ("::1", "8444"),
    ]
    assert "http2 on;" in (world.conf / "default.conf").read_text()
    assert world.backend.facts().lua == "built-in"


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("nginx version: nginx/1.18.0\nconfigure arguments:\n", "1.19.4"),
        ("sh: nginx: not found\n", "cannot be used"),
    ],
)
def test_an_image_that_will_not_do_is_reported_like_one_that_is_absent(
    world: Any, make_site: Any, version: str, reason: str
) -> None:
    world.nginx.version = version
    applied = world.backend.apply([make_site("blog")], {"blog"}, False)
    assert not applied.serving
    assert reason in applied.message
    assert "test/nginx:1" in applied.message
    assert (world.conf / "blog.conf").exists()


def test_an_image_that_cannot_be_had_is_named_with_what_to_do(world: Any, make_site: Any) -> None:
    world.compose.fail_next("Error response from daemon: pull access denied for test/nginx", command="run")
    applied = world.backend.apply([make_site("blog")], {"blog"}, False)
    assert (applied.changed, applied.serving) == (True, False)
    assert "test/nginx:1" in applied.message
    assert "nginx.image" in applied.message
    world.later(61)
    assert world.backend.apply([make_site("blog")], set(), False).serving


def test_a_port_that_is_taken_is_named_and_tried_again_later(world: Any, make_site: Any) -> None:
    other = world.engine.add("other", ports=("0.0.0.0:80->80/tcp",))
    applied = world.backend.apply([make_site("blog")], {"blog"}, False)
    assert not applied.serving
    assert "Port 80 is already in use" in applied.message
    assert "nginx.http_port" in applied.message
    assert world.container.state == "created"
    world.engine.destroy(other.id)
    world.later(61)
    applied = world.backend.apply([make_site("blog")], set(), False)
    assert (applied.serving, applied.message) == (True, "")


def fails_on_its_image(world: Any) -> None:
    world.engine.missing_images.add("test/nginx:1")
    world.compose.fail_next("pull access denied for test/nginx", command="run")


def fails_on_its_port(world: Any) -> None:
    world.engine.add("other", ports=("0.0.0.0:80->80/tcp",))


@pytest.mark.parametrize("fails", [fails_on_its_image, fails_on_its_port])
def test_what_failed_is_not_tried_again_at_once_and_is_still_told(
    world: Any, make_site: Any, fails: Callable[[Any], None]
) -> None:
    fails(world)
    first = world.backend.apply([make_site("blog")], {"blog"}, False)
    calls = len(world.compose.calls)
    again = world.backend.apply([make_site("blog")], set(), False)
    assert (again.changed, again.serving, again.message) == (False, False, first.message)
    assert len(world.compose.calls) == calls
    changed = world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert (changed.changed, changed.message) == (True, first.message)
    assert "up" not in world.compose.commands()[calls:]


def test_while_a_port_is_taken_a_changed_set_is_tested_all_the_same(
    world: Any, make_site: Any, spoiled: Any
) -> None:
    fails_on_its_port(world)
    world.backend.apply([make_site("blog")], {"blog"}, False)
    with pytest.raises(Failed):
        world.backend.apply([make_site("blog"), spoiled("shop")], {"shop"}, False)


def forced(world: Any, sites: Any) -> Any:
    return world.backend.apply(sites, set(), True)


def after_other_settings(world: Any, sites: Any) -> Any:
    world.contributor.sites = sites
    change(world, client_max_body_size="7m")
    return world.backend.apply(sites, set(), False)


def after_the_container_went(world: Any, sites: Any) -> Any:
    world.engine.destroy(world.container.id)
    return world.backend.apply(sites, set(), False)


def by_another_panel(world: Any, sites: Any) -> Any:
    return world.fresh().apply(sites, set(), False)


@pytest.mark.parametrize("how", [forced, after_other_settings, after_the_container_went, by_another_panel])
def test_what_failed_is_tried_again_when_something_is_another(
    world: Any, make_site: Any, how: Callable[[Any, Any], Any]
) -> None:
    other = world.engine.add("other", ports=("0.0.0.0:80->80/tcp",))
    assert not world.backend.apply([make_site("blog")], {"blog"}, False).serving
    world.engine.destroy(other.id)
    applied = how(world, [make_site("blog")])
    assert (applied.serving, applied.message) == (True, "")


def test_an_image_is_used_as_soon_as_it_is_there(world: Any, make_site: Any) -> None:
    fails_on_its_image(world)
    assert not world.backend.apply([make_site("blog")], {"blog"}, False).serving
    world.engine.missing_images.clear()
    applied = world.backend.apply([make_site("blog")], set(), False)
    assert (applied.serving, applied.message) == (True, "")


def test_one_that_a_person_stopped_is_left_stopped(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.engine.stop(world.container.id)
    applied = world.backend.apply([make_site("blog"), make_site("shop")], {"shop"}, False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, False, False)
    assert "takes effect when it starts" in applied.message
    assert world.container.state == "exited"
    assert (world.conf / "shop.conf").exists()


def test_one_that_was_removed_is_made_again(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.engine.destroy(world.container.id)
    assert world.backend.apply([make_site("blog")], set(), False).serving


def test_without_an_engine_files_are_written_all_the_same(world: Any, make_site: Any) -> None:
    world.engine.down = True
    applied = world.backend.apply([make_site("blog")], {"blog"}, False)
    assert (applied.changed, applied.serving) == (True, False)
    assert "Docker" in applied.message
    assert world.backend.status("blog").exists
    world.engine.down = False
    assert world.backend.apply([make_site("blog")], set(), False).serving


def test_one_in_a_restart_loop_is_looked_at_five_times_and_then_repaired(
    world: Any, make_site: Any, spoiled: Any
) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    (world.conf / "own.conf").write_text("no_such_directive on;\n")
    world.engine.set_state("edge", "restarting")
    looks = []
    world.backend.container._pause = looks.append
    applied = world.backend.apply([make_site("blog")], set(), False)
    assert looks == [1.0] * 4
    assert list(applied.quarantined) == ["own"]
    assert (applied.reloaded, applied.serving) == (True, True)
    assert world.container.state == "running"


def test_one_that_comes_up_while_it_is_looked_at_is_reloaded(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.engine.set_state("edge", "restarting")
    world.backend.container._pause = lambda seconds: world.engine.set_state("edge", "running")
    reloads = world.nginx.reloads
    assert world.backend.apply([make_site("blog", port=81)], {"blog"}, False).reloaded
    assert world.nginx.reloads == reloads + 1


def test_one_that_vanishes_during_the_test_counts_as_absent(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.nginx.on_test = lambda: world.engine.stop(world.container.id)
    applied = world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert applied.changed


def test_one_that_is_up_between_two_ends_is_not_running(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    (world.conf / "own.conf").write_text("no_such_directive on;\n")
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    world.engine._find("edge").document.update(RestartCount=3, State={"StartedAt": now})
    applied = world.backend.apply([make_site("blog")], set(), False)
    assert list(applied.quarantined) == ["own"]
    assert ("restart", world.container.id) in world.engine.calls


def test_a_test_that_is_killed_is_no_good_test(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.backend.apply([make_site("blog", port=80)], {"blog"}, True)
    world.engine.programs["nginx"] = lambda call: call.done(returncode=137)
    with pytest.raises(Failed) as caught:
        world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert caught.value.code == "PROXY_CONFIG_FAILED"
    assert ":80;" in (world.conf / "blog.conf").read_text()


def test_a_reload_that_fails_is_told_not_undone_and_made_up_for(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.nginx.reload_failure = "nginx: [error] invalid PID number"
    applied = world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, False, False)
    assert "invalid PID number" in applied.message
    assert ":81;" in (world.conf / "blog.conf").read_text()
    world.nginx.reload_failure = ""
    applied = world.backend.apply([make_site("blog", port=81)], set(), False)
    assert (applied.changed, applied.reloaded, applied.serving) == (False, True, True)


def test_a_container_off_the_proxy_network_is_connected(
    make_world: Callable[..., Any], make_site: Any
) -> None:
    world = make_world(running=True)
    world.engine._find("edge").networks.clear()
    world.backend.apply([make_site("blog")], {"blog"}, False)
    assert "proxy" in world.container.networks
    assert [call for call in world.compose.commands() if call != "run"] == []


def test_an_external_one_is_never_made(make_world: Callable[..., Any], make_site: Any) -> None:
    world = make_world(**{"nginx.external": True})
    applied = world.backend.apply([make_site("blog")], {"blog"}, False)
    assert (applied.changed, applied.serving) == (True, False)
    assert world.compose.calls == []
    assert not (world.folder / "docker-compose.yml").exists()
    world.engine.add("edge", networks={"proxy": ()})
    assert world.backend.apply([make_site("blog", port=81)], {"blog"}, False).reloaded
    assert world.compose.calls == []


def test_switched_off_everything_stays_as_it_is(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    change(world, enabled=False)
    before = world.names()
    applied = world.backend.apply([make_site("shop")], {"shop"}, False)
    assert (applied.skipped, applied.changed) == (True, False)
    assert "nginx.enabled" in applied.message
    assert world.names() == before
    assert world.container.state == "running"


def test_settings_take_effect_and_can_be_undone(world: Any, make_site: Any) -> None:
    world.contributor.sites = [make_site("blog")]
    world.proxy.apply()
    change(world, http_port=8080, client_max_body_size="7m")
    assert "0.0.0.0:8080->80/tcp" in world.container.ports
    assert "client_max_body_size 7m;" in (world.conf / "00-flatrun-maps.conf").read_text()
    change(world, http_port=80)
    assert "0.0.0.0:80->80/tcp" in world.container.ports


def test_a_port_that_is_taken_brings_the_old_settings_back(world: Any, make_site: Any) -> None:
    world.contributor.sites = [make_site("blog")]
    world.proxy.apply()
    world.engine.add("other", ports=("0.0.0.0:8080->80/tcp",))
    with pytest.raises(FlatrunError) as caught:
        change(world, http_port=8080)
    assert caught.value.code == "PORT_IN_USE"
    assert world.container.state == "running"
    assert "0.0.0.0:80->80/tcp" in world.container.ports
    assert world.service(SETTINGS).published()["nginx"]["http_port"] == 80


def test_an_image_that_cannot_be_had_brings_the_old_settings_back(world: Any, make_site: Any) -> None:
    world.contributor.sites = [make_site("blog")]
    world.proxy.apply()
    world.compose.fail_next("pull access denied for other/nginx", command="run")
    with pytest.raises(Failed) as caught:
        change(world, image="other/nginx:2")
    assert "other/nginx:2" in caught.value.message
    assert world.container.state == "running"
    assert compose(world)["services"]["nginx"]["image"] == "test/nginx:1"


def test_another_name_replaces_the_container(world: Any, make_site: Any) -> None:
    world.contributor.sites = [make_site("blog")]
    world.proxy.apply()
    change(world, container_name="gate")
    assert [one.name for one in world.engine.containers()] == ["gate"]
    assert world.engine.container("gate").state == "running"


def test_another_name_that_cannot_be_had_leaves_nothing_behind(world: Any, make_site: Any) -> None:
    world.contributor.sites = [make_site("blog")]
    world.proxy.apply()
    world.engine.add("other", ports=("0.0.0.0:8080->80/tcp",))
    with pytest.raises(FlatrunError):
        change(world, container_name="gate", http_port=8080)
    assert sorted(one.name for one in world.engine.containers()) == ["edge", "other"]
    assert world.container.state == "running"


def test_another_image_in_the_file_that_cannot_be_had_keeps_nothing_from_being_served(
    make_world: Callable[..., Any], make_site: Any
) -> None:
    world = make_world()
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.engine._find("edge").labels["flatrun.nginx.image"] = "test/nginx:0"
    world.compose.fail_next("pull access denied for test/nginx", command="run")
    start = world.fresh()
    applied = start.apply([make_site("blog", port=81)], {"blog"}, False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, True, True)
    assert "cannot be used" in applied.message
    again = start.apply([make_site("blog", port=81)], set(), False)
    assert (again.serving, again.message) == (True, applied.message)
    assert start.apply([make_site("blog", port=81)], set(), True).message == ""
    assert world.container.labels["flatrun.nginx.image"] == "test/nginx:1"


def test_a_compose_file_that_somebody_changed_is_left_alone(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    path = world.folder / "docker-compose.yml"
    path.write_text(path.read_text() + "# mine\n")
    ups = world.compose.commands().count("up")
    assert world.backend.apply([make_site("blog", port=81)], {"blog"}, False).reloaded
    assert path.read_text().endswith("# mine\n")
    assert world.compose.commands().count("up") == ups


def test_a_started_deployment_that_is_served_is_followed(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    reloads = world.nginx.reloads
    world.backend.follow("blog")
    world.backend.follow("shop")
    assert world.nginx.reloads == reloads + 1


def test_a_shell_in_the_reload_command_is_refused(world: Any, flatrun_client: Any) -> None:
    for command in ("nginx -s reload; rm -rf /", "$(x)", "a | b", "a && b", "`a`", "", "a 'b"):
        answer = flatrun_client(world.app).put("/api/settings", json={"nginx": {"reload_command": command}})
        assert answer.status_code == 400, command


def test_one_that_is_paused_is_neither_stopped_nor_asked(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.engine.set_state("edge", "paused")
    asked = [call for call in world.engine.calls if call[0] == "exec"]
    applied = world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, False, False)
    assert "paused: `docker unpause edge`" in applied.message
    assert [call for call in world.engine.calls if call[0] == "exec"] == asked
    world.engine.set_state("edge", "running")
    applied = world.backend.apply([make_site("blog", port=81)], set(), False)
    assert (applied.reloaded, applied.serving) == (True, True)


def test_one_that_was_paused_a_moment_ago_is_not_waited_for(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    state = world.backend.container.look("edge")
    world.engine._find("edge").document["State"] = {"Status": "paused"}
    asked = len([call for call in world.engine.calls if call[0] == "exec"])
    with pytest.raises(FlatrunError) as caught:
        world.backend.container.execute(state, ("nginx", "-t"))
    assert caught.value.code == "CONTAINER_NOT_RUNNING"
    assert len([call for call in world.engine.calls if call[0] == "exec"]) == asked


def mounts(world: Any) -> list[dict[str, str]]:
    return [
        {"Type": "bind", "Source": mount["source"], "Destination": mount["target"]}
        for mount in compose(world)["services"]["nginx"]["volumes"]
    ]


def test_one_with_other_mounts_is_made_anew_and_tested_apart(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    right = mounts(world)
    world.engine._find("edge").document["Mounts"] = [*right, {"Type": "volume", "Destination": "/cache"}]
    ups = world.compose.commands().count("up")
    world.backend.apply([make_site("blog")], set(), False)
    assert world.compose.commands().count("up") == ups
    html = next(one for one in right if one["Source"].endswith("/html"))
    over = [one for one in right if one["Destination"] != "/etc/nginx/conf.d" and one is not html]
    world.engine._find("edge").document["Mounts"] = [*over, {**html, "Destination": "/etc/nginx/conf.d"}]
    assert sorted(world.backend.other_mounts()) == ["/etc/nginx/conf.d", "/usr/share/nginx/html"]
    tests = len(world.compose.ran)
    world.backend.apply([make_site("blog")], set(), False)
    assert "--force-recreate" in world.compose.calls[-1].args
    assert len(world.compose.ran) > tests


@pytest.mark.parametrize("code", [126, 137, 1])
def test_a_listing_that_failed_is_not_believed_and_asked_for_again(
    make_world: Callable[..., Any], make_site: Any, code: int
) -> None:
    world = make_world(running=True)
    listing = world.engine.programs["ls"]
    world.engine.programs["ls"] = lambda call: call.done(stderr="exec failed", returncode=code)
    if code != 137:
        assert world.backend.apply([make_site("blog")], {"blog"}, False).serving
        assert not (world.folder / ".image.json").exists()
    world.engine.programs["ls"] = listing
    world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert world.backend.facts().lua == "module"


def test_an_image_without_a_folder_of_modules_has_no_lua(
    make_world: Callable[..., Any], make_site: Any
) -> None:
    world = make_world(running=True)
    listing = world.engine.programs["ls"]

    def without(call: Any) -> Any:
        if call.args[-1].endswith("/modules"):
            return call.done(stderr="ls: /usr/lib/nginx/modules: No such file or directory", returncode=1)
        return listing(call)

    world.engine.programs["ls"] = without
    world.backend.apply([make_site("blog")], {"blog"}, False)
    facts = world.backend.facts()
    assert (facts.lua, facts.mime) == ("", "/etc/nginx/mime.types")


def test_what_an_error_tells_names_no_folder_of_this_host(
    world: Any, make_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        world.backend.apply([make_site("blog")], {"blog"}, True)

    def full(path: Any, text: str, mode: int = 0) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(world.backend._workshop.files, "write", full)
    with pytest.raises(Failed) as caught:
        world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    told = f"{caught.value.message} {caught.value.details}"
    assert "conf.d/.staging-" in told
    assert str(world.folder.parent) not in told
