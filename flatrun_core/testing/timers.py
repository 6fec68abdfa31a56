"""Periodic work in tests: by the scheduler that runs it in a panel, without waiting for its time."""

import threading
from dataclasses import replace
from datetime import timedelta

from flask import Flask

from flatrun_core.scheduler import TimerThread

_PATIENCE = 30.0


def run_once(app: Flask, name: str) -> None:
    """Run a timer now, to its end; what it raises is raised here.

    On the scheduler's own thread, with its lock file and its database session.
    """
    panel = app.extensions["flatrun"]
    names = {timer.name: timer for timer in panel.timer_list}
    if name not in names:
        raise LookupError(f"there is no timer '{name}'; there are: {', '.join(sorted(names)) or 'none'}")
    done = threading.Event()
    failures: list[Exception] = []

    def run() -> None:
        try:
            names[name].run()
        except Exception as exc:  # noqa: BLE001 - raised in the test
            failures.append(exc)
        finally:
            done.set()

    timer = replace(names[name], first_after=timedelta(0), every=timedelta(days=1), run=run)
    thread = TimerThread([timer], panel.state_folder / "scheduler.lock", session=panel.database.session)
    thread.start()
    try:
        if not done.wait(_PATIENCE):
            raise TimeoutError(f"the timer '{name}' did not end within {_PATIENCE:g} seconds")
    finally:
        thread.stop()
    if failures:
        raise failures[0]
