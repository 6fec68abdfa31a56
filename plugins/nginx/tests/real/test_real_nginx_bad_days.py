"""The real container on bad days: stopped, removed, looping, its port taken, its files broken by hand."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flatrun_core import FlatrunError
from flatrun_core.docker import Watcher
from flatrun_core.ports.docker import ENGINE
from flatrun_core.ports.nginx import Fragment
from flatrun_core.ports.proxy import Host, Route, Site
from flatrun_core.ports.settings import SETTINGS
from flatrun_nginx import checks, generation
from flatrun_nginx.caretaker import CARETAKER

pytestmark = pytest.mark.e2e

HOLDS_A_PORT = "echo $$ >/holds.pid; exec busybox httpd -f -p 127.0.0.1:9481"
BROKEN = "server {\n    no_such_directive on;\n}\n"


def answers(edge: Any, host: str) -> bool:
    """Whether nginx has the site: nothing is behind it, so that it says 502."""
    return bool(edge.get(host).status == 502)


def listening(edge: Any) -> str:
    """What listens in the container."""
    return str(edge.docker("exec", edge.name, "netstat", "-ltn"))


def test_one_broken_site_and_hand_broken_files_keep_nobody_else_from_being_served(
    cleared: Any, make_site: Callable[..., Site], spoiled: Callable[..., Site]
) -> None:
    edge = cleared
    edge.serve(make_site("blog"))
    (edge.conf / "own.conf").write_text(BROKEN)
    with (edge.conf / "blog.conf").open("a") as file:
        file.write("}\n")
    applied = edge.serve(make_site("blog"), make_site("wiki"), spoiled("shop"), changed=("wiki",))
    assert sorted(applied.quarantined) == ["own", "shop"]
    assert answers(edge, "blog.example.com")
    assert answers(edge, "wiki.example.com")
    assert (edge.conf / "own.conf.quarantined").read_text() == BROKEN
    assert len(list(edge.conf.glob("blog.conf.edited-*"))) == 1
    assert "successful" in edge.docker("exec", edge.name, "nginx", "-t")
    (edge.conf / "own.conf.quarantined").unlink()
    (edge.conf / "own.conf.quarantined.json").unlink()


@pytest.mark.parametrize("spoilt", ["chain", "key"])
def test_a_certificate_that_nginx_refuses_takes_only_tls_of_its_own_host_away(
    cleared: Any, make_site: Callable[..., Site], spoilt: str
) -> None:
    edge = cleared
    tls = edge.certificate("shop.example.com")
    shop = Site("shop", (Host("shop.example.com", (), (Route("/", "shop-web", 80),), tls),))
    path = getattr(tls, spoilt)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    applied = edge.serve(shop, make_site("blog"), changed=("blog",))
    assert applied.quarantined == {}
    assert "shop.example.com is served without TLS" in applied.message
    assert edge.backend.status("shop").reason
    assert answers(edge, "blog.example.com")
    assert answers(edge, "shop.example.com")
    path.write_bytes(whole)
    assert edge.serve(shop, make_site("blog"), changed=("shop",)).message
    assert edge.backend.apply([shop, make_site("blog")], set(), True).message == ""
    edge.until(lambda: edge.get("shop.example.com").status == 301)


def test_a_key_of_another_certificate_takes_only_tls_away(
    cleared: Any, make_site: Callable[..., Site]
) -> None:
    edge = cleared
    tls, other = edge.certificate("shop.example.com"), edge.certificate("shop.example.com")
    tls.key.write_bytes(other.key.read_bytes())
    shop = Site("shop", (Host("shop.example.com", (), (Route("/", "shop-web", 80),), tls),))
    applied = edge.serve(shop, make_site("blog"), changed=("blog",))
    assert (applied.quarantined, "without TLS" in applied.message) == ({}, True)
    assert answers(edge, "shop.example.com")


def test_a_reload_that_nginx_refuses_is_told_and_had_as_soon_as_it_can_be(
    cleared: Any, make_site: Callable[..., Site]
) -> None:
    edge = cleared
    edge.serve(make_site("blog"))
    # nginx tests a configuration without having its ports, so only the reload finds this one taken.
    edge.docker("exec", "-d", edge.name, "sh", "-c", HOLDS_A_PORT)
    edge.until(lambda: "127.0.0.1:9481" in listening(edge))
    edge.contributor.fragments = [Fragment("http", "server { listen 127.0.0.1:9481; }")]
    applied = edge.backend.apply([make_site("blog"), make_site("shop")], {"shop"}, False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, False, False)
    assert "127.0.0.1:9481 failed" in applied.message
    assert answers(edge, "blog.example.com")
    edge.docker("exec", edge.name, "sh", "-c", "kill $(cat /holds.pid)")
    edge.until(lambda: "127.0.0.1:9481" not in listening(edge))
    applied = edge.backend.apply([make_site("blog"), make_site("shop")], set(), False)
    assert (applied.changed, applied.reloaded, applied.message) == (False, True, "")
    assert answers(edge, "shop.example.com")


def test_what_is_said_to_be_served_answers_at_once(real_edge: Any, make_site: Callable[..., Site]) -> None:
    edge = real_edge
    for port, name in enumerate(("blog", "shop", "wiki"), 80):
        assert edge.backend.apply([make_site(name, port=port)], {name}, False).serving
        assert answers(edge, f"{name}.example.com")


def test_removed_it_is_made_again_and_stopped_it_stays_stopped(
    real_edge: Any, make_site: Callable[..., Site]
) -> None:
    edge = real_edge
    assert edge.backend.apply([make_site("blog")], {"blog"}, False).serving
    edge.docker("rm", "-f", edge.name)
    edge.until(lambda: edge.backend.apply([make_site("blog")], set(), False).serving)
    assert edge.state() == "running"
    edge.docker("stop", "-t", "1", edge.name)
    edge.until(lambda: edge.backend.endpoints().http == ())
    applied = edge.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert (applied.changed, applied.serving) == (True, False)
    assert edge.state() == "exited"
    edge.docker("start", edge.name)
    edge.until(lambda: answers(edge, "blog.example.com"))


def test_a_port_that_is_taken_is_named_and_had_once_it_is_free(
    real_edge: Any, make_site: Callable[..., Site]
) -> None:
    edge = real_edge
    with socket.socket() as other:
        other.bind(("127.0.0.1", edge.http_port))
        other.listen()
        applied = edge.backend.apply([make_site("blog")], {"blog"}, False)
        assert (applied.changed, applied.serving) == (True, False)
        assert str(edge.http_port) in applied.message
        found = checks.container(edge.backend._ctx)
        assert (found.status, str(edge.http_port) in found.message) == ("error", True)
        again = edge.backend.apply([make_site("blog")], set(), False)
        assert (again.serving, again.message) == (False, applied.message)
    applied = edge.backend.apply([make_site("blog")], set(), False)
    assert applied.serving, applied.message
    assert answers(edge, "blog.example.com")


def test_an_image_that_is_not_there_is_named(make_real_edge: Any, make_site: Callable[..., Site]) -> None:
    edge = make_real_edge(**{"nginx.image": "flatrun-test.invalid/no/such:image"})
    applied = edge.backend.apply([make_site("blog")], {"blog"}, False)
    assert (applied.changed, applied.serving) == (True, False)
    assert "flatrun-test.invalid/no/such:image" in applied.message


def test_a_restart_loop_is_told_and_ended_by_leaving_out_what_is_broken(
    real_edge: Any, make_site: Callable[..., Site]
) -> None:
    edge = real_edge
    edge.backend.apply([make_site("blog")], {"blog"}, False)
    (edge.conf / "own.conf").write_text(BROKEN)
    edge.docker("restart", "-t", "1", edge.name)
    edge.until(lambda: edge.state() == "restarting")
    edge.until(lambda: "no_such_directive" in checks.container(edge.backend._ctx).message)
    start = edge.fresh()
    start.repair()
    applied = start.apply([make_site("blog")], set(), False)
    assert list(applied.quarantined) == ["own"]
    edge.until(lambda: edge.state() == "running" and answers(edge, "blog.example.com"))


@pytest.fixture
def cared_for(real_edge: Any, make_site: Callable[..., Site]) -> Iterator[Any]:
    """nginx that serves a site, and is looked after."""
    real_edge.contributor.sites = [make_site("blog")]
    assert real_edge.proxy.apply().serving
    watcher, caretaker = Watcher(real_edge.service(ENGINE)), real_edge.service(CARETAKER)
    caretaker.start()
    watcher.start()
    yield real_edge
    caretaker.stop()
    watcher.stop()


def test_a_restart_loop_ends_by_itself(cared_for: Any) -> None:
    edge = cared_for
    (edge.conf / "own.conf").write_text(BROKEN)
    edge.docker("restart", "-t", "1", edge.name)
    edge.until((edge.conf / "own.conf.quarantined").exists)
    edge.until(lambda: edge.state() == "running" and answers(edge, "blog.example.com"))


def test_what_changed_while_it_was_paused_is_had_as_soon_as_it_goes_on(
    cared_for: Any, make_site: Callable[..., Site]
) -> None:
    edge = cared_for
    edge.docker("pause", edge.name)
    edge.until(lambda: edge.backend.endpoints().http == ())
    edge.contributor.sites = [make_site("blog"), make_site("shop")]
    applied = edge.proxy.apply(["shop"])
    assert (applied.changed, applied.serving) == (True, False)
    assert f"docker unpause {edge.name}" in applied.message
    assert "is paused" in checks.container(edge.backend._ctx).message
    edge.docker("unpause", edge.name)
    edge.until(lambda: answers(edge, "shop.example.com"))


def test_one_with_other_mounts_than_it_should_have_is_made_anew(
    real_edge: Any, make_site: Callable[..., Site]
) -> None:
    edge = real_edge
    assert edge.backend.apply([make_site("blog")], {"blog"}, False).serving
    assert edge.backend.other_mounts() == []
    made = edge.docker("inspect", "-f", "{{.Id}}", edge.name)
    assert not edge.backend.apply([make_site("blog")], set(), False).changed
    assert edge.docker("inspect", "-f", "{{.Id}}", edge.name) == made
    labels = json.loads(edge.docker("inspect", "-f", "{{json .Config.Labels}}", edge.name))
    image = edge.docker("inspect", "-f", "{{.Config.Image}}", edge.name).strip()
    edge.docker("rm", "-f", edge.name)
    edge.docker(
        *("run", "-d", "--name", edge.name, "--network", edge.name),
        *(word for name, value in labels.items() for word in ("--label", f"{name}={value}")),
        *("-v", f"{edge.folder}/html:/etc/nginx/conf.d:ro", image, "sleep", "600"),
    )
    edge.until(lambda: "/etc/nginx/conf.d" in edge.backend.other_mounts())
    assert edge.backend.apply([make_site("blog")], set(), False).serving
    assert answers(edge, "blog.example.com")
    assert edge.backend.other_mounts() == []


def test_killed_between_swap_and_reload_the_next_start_serves_the_new_set(
    real_edge: Any, make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = real_edge
    edge.backend.apply([make_site("blog")], {"blog"}, False)

    class Killed(BaseException):
        """The process is gone."""

    def killed(*_: Any) -> str:
        raise Killed

    monkeypatch.setattr(edge.backend._workshop, "reload", killed)
    with pytest.raises(Killed):
        edge.backend.apply([make_site("blog"), make_site("shop")], {"shop"}, False)
    start = edge.fresh()
    start.repair()
    applied = start.apply([make_site("blog"), make_site("shop")], set(), False)
    assert (applied.changed, applied.reloaded) == (False, True)
    edge.until(lambda: answers(edge, "shop.example.com"))
    assert not [path for path in edge.conf.iterdir() if path.name.startswith(".")]


def test_settings_change_the_running_container_or_come_back(
    real_edge: Any, make_site: Callable[..., Site], ports: Any
) -> None:
    edge = real_edge
    edge.contributor.sites = [make_site("blog")]
    edge.proxy.apply()
    store = edge.service(SETTINGS)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(FlatrunError) as caught:
            edge.change(store, http_port=other.getsockname()[1])
        assert caught.value.code == "PORT_IN_USE"
    edge.until(lambda: answers(edge, "blog.example.com"))
    edge.http_port = ports.next()
    edge.change(store, http_port=edge.http_port)
    edge.until(lambda: answers(edge, "blog.example.com"))


def test_unknown_names_are_refused_when_so_set(make_real_edge: Any, make_site: Callable[..., Site]) -> None:
    edge = make_real_edge(**{"nginx.reject_unknown_domains": True})
    edge.backend.apply([make_site("blog")], {"blog"}, False)
    edge.until(lambda: answers(edge, "blog.example.com"))
    with pytest.raises(OSError, match=r"closed|reset"):
        edge.get("other.example.com")
    assert edge.get("other.example.com", "/.well-known/acme-challenge/x").status == 404
    tls = edge.certificate("shop.example.com")
    shop = Site("shop", (Host("shop.example.com", (), (Route("/", "shop-web", 80),), tls),))
    edge.serve(make_site("blog"), shop)
    with pytest.raises(OSError, match=r"closed|reset"):
        edge.get("shop.example.com", tls=True, Host="other.example.com")
    told = edge.get("generation.flatrun.invalid")
    assert (told.status, told.body.decode().strip()) == (200, generation.standing(edge.conf))
    for path in ("/x", "/.well-known/acme-challenge/x", "//index.html", "/index.html"):
        assert edge.get("generation.flatrun.invalid", path).status == 404
    assert "generation.flatrun" not in edge.docker("logs", edge.name)
