"""The fixture that lets a timer run."""

from collections.abc import Callable
from datetime import timedelta
from types import ModuleType

import pytest
from flask import Flask

from flatrun_core import HOOK_API, PluginInfo, hookimpl
from flatrun_core.ports.scheduling import Timer

RunTimer = Callable[[Flask, str], None]


@pytest.fixture
def app(flatrun_app: Callable[..., Flask]) -> Flask:
    runs: list[str] = []

    def fail() -> None:
        raise OSError("no batteries")

    plugin = ModuleType("flatrun_clock")
    plugin.PLUGIN = PluginInfo(slug="clock", hook_api=HOOK_API, display_name="Clock")  # type: ignore[attr-defined]
    plugin.flatrun_register_timers = hookimpl(  # type: ignore[attr-defined]
        lambda: [
            Timer("clock.tick", timedelta(seconds=0.01), lambda: runs.append("tick")),
            Timer("clock.fail", timedelta(days=1), fail),
        ]
    )
    app = flatrun_app(plugins=[plugin])
    app.extensions["runs"] = runs
    return app


def test_a_timer_runs_once_however_often_it_would(app: Flask, run_timer: RunTimer) -> None:
    run_timer(app, "clock.tick")
    run_timer(app, "clock.tick")
    assert app.extensions["runs"] == ["tick", "tick"]


def test_what_a_timer_raises_fails_the_test(app: Flask, run_timer: RunTimer) -> None:
    with pytest.raises(OSError, match="no batteries"):
        run_timer(app, "clock.fail")


def test_a_timer_that_is_not_there_is_named(app: Flask, run_timer: RunTimer) -> None:
    with pytest.raises(LookupError, match=r"no timer 'clock\.tack'; there are: clock\.fail, clock\.tick"):
        run_timer(app, "clock.tack")
