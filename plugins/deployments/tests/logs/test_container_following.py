"""Followers of one container, on an Engine in memory."""

from collections.abc import Iterator
from typing import Any

import pytest

from flatrun_core import NotFound
from flatrun_core.ports.docker import PROJECT_LABEL
from flatrun_core.testing.fake_docker import FakeEngine
from flatrun_deployments import log_stream
from flatrun_deployments.log_follower import Timing
from flatrun_deployments.log_stream import LogQuery, LogService

QUICK = Timing(idle=0.05, pause=0.0, stopped=0.25, look=0.2, settle=0.02)


def no_deployments() -> Any:
    raise AssertionError("a container's log has nothing to do with deployments")


@pytest.fixture
def service(fake_engine: FakeEngine, until: Any) -> Iterator[LogService]:
    made = LogService(fake_engine, no_deployments, QUICK)
    yield made
    until(lambda: made.hub.idle and not fake_engine.followers)


def test_it_begins_with_the_last_lines_and_ends_when_it_stays_stopped(
    service: LogService, fake_engine: FakeEngine, logs: Any, read: Any
) -> None:
    container = logs.add("web")
    fake_engine.write_log("web", "one")
    client = read(service.follow_container(container.id[:8], LogQuery()))
    fake_engine.write_log("web", "two")
    fake_engine.set_state("web", "exited", exit_code=1)
    client.join()
    assert (client.lines, client.ended) == (["one", "two"], "stopped")


def test_by_its_id_it_ends_when_the_container_is_removed(
    service: LogService, fake_engine: FakeEngine, logs: Any, read: Any
) -> None:
    container = logs.add("web")
    client = read(service.follow_container(container.id, LogQuery()))
    fake_engine.destroy(container.id)
    assert client.join().ended == "deleted"


def test_by_its_name_it_goes_on_with_a_successor_of_the_same_project(
    service: LogService, fake_engine: FakeEngine, logs: Any, read: Any, until: Any
) -> None:
    logs.add("web")
    client = read(service.follow_container("web", LogQuery()))
    fake_engine.destroy("web")
    logs.add("web")
    fake_engine.write_log("web", "new")
    until(lambda: client.lines == ["new"])
    client.hang_up()


def test_by_its_name_it_ends_when_no_successor_comes(
    service: LogService,
    fake_engine: FakeEngine,
    logs: Any,
    read: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_stream, "_RECREATION", 0.1)
    logs.add("web")
    client = read(service.follow_container("web", LogQuery()))
    fake_engine.destroy("web")
    assert client.join().ended == "deleted"


@pytest.mark.parametrize("labels", [{PROJECT_LABEL: "other"}, {}])
def test_a_namesake_of_another_project_is_not_followed(
    service: LogService,
    fake_engine: FakeEngine,
    logs: Any,
    read: Any,
    labels: dict[str, str],
) -> None:
    logs.add("web")
    client = read(service.follow_container("web", LogQuery()))
    fake_engine.destroy("web")
    fake_engine.add("web", labels=labels)
    fake_engine.write_log("web", "secret")
    assert client.join().ended == "stopped"
    assert client.lines == []


def test_an_unknown_container_is_not_found_before_the_stream_begins(service: LogService) -> None:
    with pytest.raises(NotFound):
        service.follow_container("nobody", LogQuery())
