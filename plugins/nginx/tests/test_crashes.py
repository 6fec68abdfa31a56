"""A panel killed, or a disk full, at every single step of an apply."""

import errno
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import Failed
from flatrun_core.ports.nginx import Fragment
from flatrun_nginx.backend import NginxBackend
from flatrun_nginx.files import Files


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class Breaking(Files):
    """Fails at the step of that number; ``reached`` tells whether there was such a step."""

    def __init__(self, step: int, error: Callable[[], BaseException]) -> None:
        self._left = step
        self._error = error
        self.reached = False
        self.dead = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        # Removing a folder never fails: what cannot be removed stays.
        tolerant = name == "drop" and not isinstance(super().__getattribute__("_error")(), Killed)
        if name.startswith("_") or not callable(found) or tolerant:
            return found
        return lambda *args, **more: self._step(found, *args, **more)

    def _step(self, method: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if self.dead or self._left == 0:
            self.reached = True
            self.dead = self.dead or isinstance(self._error(), Killed)
            self._left -= 1
            raise self._error()
        self._left -= 1
        return method(*args, **more)


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def served(conf: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in conf.glob("*.conf")}


def lua(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "lua").iterdir()}


def fragments(text: str) -> list[Fragment]:
    return [
        Fragment("file", text, name="look.lua"),
        Fragment("http", "init_by_lua_file /etc/nginx/lua/look.lua;", lua=True),
    ]


def steps(world: Any, error: Callable[[], BaseException], before: Any, after: Any) -> Iterator[Any]:
    """For each step of an apply that leads from one set to another: the world after that step failed."""
    for step in itertools.count():
        world.contributor.fragments = fragments("-- before")
        world.backend.apply(before, set(), True)
        old = served(world.conf), lua(world.folder)
        world.contributor.fragments = fragments("-- after")
        files = Breaking(step, error)
        caught = None
        try:
            NginxBackend(world.backend._ctx, world.backend.container, files).apply(after, {"blog"}, False)
        except (Killed, Failed) as exc:
            caught = exc
        if not files.reached:
            assert step > 20, "an apply has more steps than that"
            return
        yield step, old, caught


@pytest.fixture
def sets(make_site: Callable[..., Any], spoiled: Callable[..., Any]) -> tuple[Any, Any]:
    before = [make_site("blog"), make_site("shop"), make_site("gone"), make_site("turns-bad")]
    return before, [
        make_site("blog", port=81),
        make_site("shop", port=81),
        make_site("new"),
        spoiled("turns-bad"),
    ]


def test_killed_anywhere_the_next_start_finds_a_whole_set_and_serves_it(world: Any, sets: Any) -> None:
    before, after = sets
    goal = None
    for step, old, _ in steps(world, Killed, before, after):
        start = NginxBackend(world.backend._ctx, world.backend.container)
        start.repair()
        found = served(world.conf), lua(world.folder)
        applied = start.apply(after, set(), False)
        end = served(world.conf), lua(world.folder)
        goal = goal or end
        assert found in (old, goal), f"after step {step} the set is neither the old nor the new one"
        assert end == goal
        assert applied.serving
        assert list(applied.quarantined) == ["turns-bad"]
        assert not [name for name in world.names() if name.startswith(".")], f"left by step {step}"


def test_killed_between_swap_and_reload_the_next_start_reloads(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)

    def killed_at_reload(call: Any) -> Any:
        if call.args[1] == "-s":
            raise Killed
        return world.nginx.run(call)

    world.engine.programs["nginx"] = killed_at_reload
    with pytest.raises(Killed):
        world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    world.engine.programs["nginx"] = world.nginx.run
    start = world.fresh()
    start.repair()
    reloads = world.nginx.reloads
    applied = start.apply([make_site("blog", port=81)], set(), False)
    assert (applied.changed, applied.reloaded) == (False, True)
    assert world.nginx.reloads == reloads + 1
    assert not start.apply([make_site("blog", port=81)], set(), False).reloaded


def test_with_a_full_disk_everything_stays_as_it_was(world: Any, sets: Any) -> None:
    before, after = sets
    for step, old, caught in steps(world, full, before, after):
        assert (served(world.conf), lua(world.folder)) == old or caught is None, f"step {step}"
        if caught is not None:
            assert caught.code == "PROXY_CONFIG_FAILED"
            assert "No space left" in caught.message
        assert not [name for name in world.names() if name.startswith(".staging")], f"left by step {step}"


def test_a_journal_that_cannot_be_read_does_not_stop_the_start(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)
    before = served(world.conf)
    for text in ("", "{", "[]", '{"staging": 1}', '{"staging": ".staging-x", "moves": [["a", "../b"]]}'):
        (world.conf / ".flatrun-swap.json").write_text(text)
        start = world.fresh()
        start.repair()
        start.apply([make_site("blog")], set(), False)
        assert served(world.conf) == before
        assert not [name for name in world.names() if name.startswith(".")]
