"""nginx is seen to between applies: when it ends again and again, and when it missed a swap."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flatrun_nginx.caretaker import CARETAKER, Caretaker

PATIENCE = 20.0


def until(good: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not good():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def served(world: Any, make_site: Any) -> Any:
    """nginx runs and serves a site."""
    world.contributor.sites = [make_site("blog")]
    assert world.proxy.apply().serving
    return world


@pytest.fixture
def caretaker(served: Any) -> Iterator[Caretaker]:
    one = Caretaker(served.backend._ctx, settles=0.01, between=0.01)
    one.start()
    yield one
    one.stop()


def loop(world: Any) -> None:
    """Have nginx end again and again over a file of somebody's."""
    (world.conf / "own.conf").write_text("no_such_directive on;\n")
    world.engine.set_state("edge", "restarting")
    world.engine.emit("die", "edge", name="edge")


@pytest.mark.usefixtures("caretaker")
def test_one_that_starts_again_and_again_is_repaired_by_itself(served: Any) -> None:
    loop(served)
    until(lambda: served.container.state == "running")
    assert (served.conf / "own.conf.quarantined").exists()
    assert ("restart", served.container.id) in served.engine.calls


@pytest.mark.usefixtures("caretaker")
@pytest.mark.parametrize("action", ["unpause", "start"])
def test_what_was_swapped_in_while_it_could_not_be_told_is_told_later(
    served: Any, make_site: Any, action: str
) -> None:
    served.engine.set_state("edge", "paused")
    served.contributor.sites = [make_site("blog", port=81)]
    applied = served.proxy.apply(["blog"])
    assert (applied.changed, applied.serving) == (True, False)
    reloads = served.nginx.reloads
    served.engine.set_state("edge", "running")
    served.engine.emit(action, "edge", name="edge")
    until(lambda: served.nginx.reloads > reloads)
    until(lambda: not served.backend.owes())


def test_one_that_serves_other_files_than_it_should_is_told_again(served: Any) -> None:
    caretaker = Caretaker(served.backend._ctx)
    served.backend._workshop.watch._pause = lambda seconds: None
    ticks = iter(range(1000))
    served.backend._workshop.watch._clock = lambda: float(next(ticks))
    served.nginx.stuck = "0" * 16
    assert served.backend.owes()
    reloads = served.nginx.reloads
    caretaker.look()
    assert served.nginx.reloads > reloads
    served.nginx.stuck = None
    assert served.backend.owes() == ""


def test_where_nothing_is_owed_nothing_is_done(served: Any) -> None:
    calls, reloads = len(served.compose.calls), served.nginx.reloads
    Caretaker(served.backend._ctx).look()
    assert (len(served.compose.calls), served.nginx.reloads) == (calls, reloads)
    served.engine.stop(served.container.id)
    Caretaker(served.backend._ctx).look()
    assert served.container.state == "exited"


def test_what_does_not_help_is_tried_at_longer_distances_and_said_once(
    served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caretaker = Caretaker(served.backend._ctx, between=1.0)
    served.engine.restart = lambda container_id: None
    served.engine.set_state("edge", "restarting")
    distances = []
    for _ in range(8):
        before = time.monotonic()
        caretaker.look()
        distances.append(round(caretaker._earliest - before))
    assert sorted(distances) == distances
    assert (distances[0], distances[-1]) == (1, 60)
    assert caplog.text.count("nginx was looked after") == 1
    served.engine.set_state("edge", "running")
    caretaker.look()
    assert caretaker._distance == 1.0


@pytest.mark.usefixtures("caretaker")
def test_a_reload_that_failed_is_tried_again_by_itself(served: Any, make_site: Any) -> None:
    served.nginx.reload_failure = "nginx: [error] invalid PID number"
    served.contributor.sites = [make_site("blog", port=81)]
    assert not served.proxy.apply(["blog"]).reloaded
    served.engine.emit("start", "edge", name="edge")
    tests = len(served.nginx.tests)
    until(lambda: len(served.nginx.tests) > tests)
    served.nginx.reload_failure = ""
    until(lambda: not served.backend.owes())


def test_only_events_of_its_own_container_wake_it(served: Any) -> None:
    caretaker = Caretaker(served.backend._ctx)
    unsubscribe = served.engine.subscribe(caretaker.hear)
    served.engine.add("other")
    for action, name in (("die", "other"), ("exec_start", "edge"), ("disconnected", "")):
        served.engine.emit(action, name, **({"name": name} if name else {}))
    assert not caretaker._wake.is_set()
    served.engine.emit("connected")
    assert caretaker._wake.is_set()
    unsubscribe()


def test_a_failure_is_logged_and_ends_nothing(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    caretaker = Caretaker(served.backend._ctx)
    served.engine.set_state("edge", "restarting")
    served.contributor.failure = RuntimeError("broken")
    caretaker.look()
    assert "failed unexpectedly" in caplog.text
    served.contributor.failure = None
    caretaker.look()
    assert served.container.state == "running"


def test_it_stops_at_once_and_hears_nothing_any_more(served: Any) -> None:
    caretaker = served.service(CARETAKER)
    caretaker.start()
    caretaker.stop()
    assert not caretaker._thread.is_alive()
    caretaker._wake.clear()
    served.engine.emit("connected")
    assert not caretaker._wake.is_set()
