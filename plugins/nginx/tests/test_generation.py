"""Whether nginx has taken over what was applied: it is asked, and not only told."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from flatrun_core.ports.docker import LogLine
from flatrun_core.ports.proxy import Host, Route, Site
from flatrun_nginx import generation
from flatrun_nginx.generation import Watch

PLACES = [("127.0.0.1", 1), ("127.0.0.1", 2)]
NEW, OLD = "a" * 16, "b" * 16


class Clock:
    """Goes on while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def watch() -> Watch:
    clock = Clock()
    return Watch(clock, clock.wait)


def telling(answers: list[str | None], last: str | None) -> Callable[[Any], str | None]:
    """What is told at each question, the last answer for ever."""
    left = iter(answers)
    return lambda place: next(left, last)


@pytest.mark.parametrize(
    ("answers", "last", "starting", "seen"),
    [
        ([], NEW, False, True),
        ([OLD, OLD, NEW, OLD], NEW, False, True),
        ([OLD, "", NEW], OLD, False, False),
        ([], OLD, False, False),
        ([], "", True, False),
        ([], None, False, None),
        ([], None, True, None),
        ([None] * 20, NEW, True, True),
        ([None] * 20, NEW, False, None),
        ([OLD, OLD, None, None], NEW, False, True),
    ],
)
def test_is_seen_when_it_is_told_twice_in_a_row(
    monkeypatch: pytest.MonkeyPatch, answers: list[str | None], last: str | None, starting: bool, seen: Any
) -> None:
    monkeypatch.setattr(generation, "ask", telling(answers, last))
    assert watch().sees(NEW, PLACES[:1], starting=starting) is seen


def test_the_first_place_that_answers_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "ask", lambda place: NEW if place == PLACES[1] else None)
    assert watch().sees(NEW, PLACES) is True
    assert watch().sees(NEW, []) is None
    assert watch().sees("", PLACES) is None


class Told(BaseHTTPRequestHandler):
    answer: ClassVar[tuple[int, bytes]] = (200, b"")

    def do_GET(self) -> None:
        status, body = self.answer
        self.send_response(status if self.headers["Host"] == "generation.flatrun.invalid" else 500)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    made = HTTPServer(("127.0.0.1", 0), Told)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield "127.0.0.1", made.server_port
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, NEW.encode() + b"\n", NEW),
        (404, NEW.encode(), ""),
        (200, b"<h1>It works.</h1>" * 100, ""),
        (200, b"\xff" * 16, ""),
        (200, b"", ""),
    ],
)
def test_only_a_digest_is_one(
    monkeypatch: pytest.MonkeyPatch, server: tuple[str, int], status: int, body: bytes, told: str
) -> None:
    monkeypatch.setattr(Told, "answer", (status, body))
    assert generation.ask(server) == told


def test_nobody_there_is_no_answer(free_port: int) -> None:
    assert generation.ask(("127.0.0.1", free_port)) is None


def test_every_change_of_a_set_is_another_digest_and_the_same_set_the_same(
    world: Any, make_site: Any
) -> None:
    found = []
    for sites in ([make_site("blog")], [make_site("blog", port=81)], [make_site("blog"), make_site("a")]):
        world.backend.apply(sites, set(), False)
        found.append(generation.standing(world.conf))
        assert not world.fresh().apply(sites, set(), False).changed
        assert generation.standing(world.conf) == found[-1]
    assert len(set(found)) == 3
    assert all(len(one) == 16 for one in found)


def test_a_reload_that_nginx_refuses_is_told_by_its_log_not_undone_and_made_up_for(
    world: Any, make_site: Any
) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    world.nginx.stuck = generation.standing(world.conf)
    world.backend._workshop.watch = watch()
    log = world.engine._find("edge").log
    log += [
        LogLine("2100-01-01T00:00:00.000000000Z", "stderr", text)
        for text in ("[emerg] 1#1: bind() to 0.0.0.0:81 failed (98: Address in use)", "192.0.2.1 - GET /")
    ]
    applied = world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, False, False)
    assert applied.message.endswith("bind() to 0.0.0.0:81 failed (98: Address in use)")
    assert ":81;" in (world.conf / "blog.conf").read_text()
    log.clear()
    applied = world.backend.apply([make_site("blog", port=81)], set(), False)
    assert (applied.reloaded, applied.message.endswith("it goes on with what it had")) == (False, True)
    world.nginx.stuck = None
    applied = world.backend.apply([make_site("blog", port=81)], set(), False)
    assert (applied.changed, applied.reloaded, applied.serving, applied.message) == (False, True, True, "")


def test_one_that_was_started_serves_only_once_it_answers(world: Any, make_site: Any) -> None:
    world.backend._workshop.watch = watch()
    world.nginx.stuck = ""
    applied = world.backend.apply([make_site("blog")], {"blog"}, False)
    assert (applied.serving, world.container.state) == (False, "running")
    assert "does not serve" in applied.message
    world.nginx.stuck = None
    applied = world.backend.apply([make_site("blog")], set(), False)
    assert (applied.reloaded, applied.serving, applied.message) == (True, True, "")


def test_one_that_ends_while_it_is_waited_for_does_not_serve(
    world: Any, make_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(place: Any) -> None:
        world.engine.set_state("edge", "restarting")

    monkeypatch.setattr(generation, "ask", ends)
    world.backend._workshop.watch = watch()
    applied = world.backend.apply([make_site("blog")], {"blog"}, False)
    assert (applied.reloaded, applied.serving) == (False, False)
    assert "starts again and again" in applied.message


def test_one_that_cannot_be_reached_is_taken_at_its_word(
    make_world: Callable[..., Any], make_site: Any
) -> None:
    world = make_world(running=True, **{"nginx.external": True})
    world.nginx.stuck = ""
    applied = world.backend.apply([make_site("blog")], {"blog"}, False)
    assert (applied.reloaded, applied.message, world.nginx.asked) == (True, "", [])


@pytest.mark.parametrize("alias", [False, True])
def test_its_name_is_no_sites(world: Any, make_site: Any, alias: bool) -> None:
    name = "generation.flatrun.invalid"
    names = ("shop.example.com", (name,)) if alias else (name, ())
    shop = Site("shop", (Host(*names, (Route("/", "shop-web", 80),)),))
    applied = world.backend.apply([make_site("blog"), shop], {"blog"}, False)
    assert name in applied.quarantined["shop"]
