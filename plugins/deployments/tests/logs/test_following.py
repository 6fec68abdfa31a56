"""Followers of a deployment's logs, on an Engine in memory."""

import threading
import time
from typing import Any

import pytest

from flatrun_core import DockerUnavailable, Failed, NotFound, Unavailable
from flatrun_deployments.log_hub import HubLimits, LogHub


def write(logs: Any, name: str, *lines: object, stream: str = "stdout") -> None:
    for line in lines:
        logs.engine.write_log(name, str(line), stream)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


def test_a_follower_gets_the_last_lines_and_then_new_ones(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    write(logs, "blog-web-1", *range(10))
    client = logs.follow(tail=3)
    assert client.lines == numbers(7, 10)
    write(logs, "blog-web-1", 10)
    until(lambda: client.lines == numbers(7, 11))


def test_an_event_says_where_its_line_comes_from(logs: Any) -> None:
    logs.add("blog-web-1")
    line = logs.engine.write_log("blog-web-1", "\x1b[31moops\x1b[0m", "stderr")
    client = logs.follow()
    assert client.received == [
        (
            "log",
            {
                "service": "web",
                "container": "blog-web-1",
                "timestamp": line.timestamp,
                "stream": "stderr",
                "line": "oops",
            },
        )
    ]


def test_a_container_without_service_has_none(logs: Any) -> None:
    logs.add("lone", service=None)
    write(logs, "lone", "hello")
    assert logs.follow().received[0][1]["service"] is None


def test_an_empty_log_opens_the_stream_at_once(logs: Any) -> None:
    logs.add("blog-web-1")
    assert logs.follow().received == []


def test_the_tail_counts_over_all_containers_by_time(logs: Any) -> None:
    for name in ("one", "two"):
        logs.add(name)
    for number in range(10):
        write(logs, ("one", "two")[number % 2], number)
    assert logs.follow(tail=5).lines == numbers(5, 10)


def test_many_followers_share_one_connection(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    write(logs, "blog-web-1", *range(50))
    clients = [logs.follow(tail=10) for _ in range(30)]
    until(lambda: logs.engine.followers == 1)
    write(logs, "blog-web-1", "new")
    until(lambda: all(client.lines == [*numbers(40, 50), "new"] for client in clients))
    asked = [call[0] for call in logs.engine.calls]
    assert asked.count("follow") == 1
    assert asked.count("logs") == 1


def test_the_connection_ends_with_the_last_follower(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    first, second = logs.follow(), logs.follow()
    first.hang_up()
    until(lambda: logs.engine.followers == 1)
    assert not logs.hub.idle
    second.hang_up()
    until(lambda: logs.engine.followers == 0)
    assert logs.hub.idle
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("logs-")])


@pytest.mark.parametrize("tail", [5, 700])
def test_nothing_is_lost_or_doubled_while_a_container_writes(logs: Any, until: Any, tail: int) -> None:
    logs.add("blog-web-1")
    write(logs, "blog-web-1", *range(600))
    stop, count = threading.Event(), [600]

    def writer() -> None:
        while not stop.is_set() and count[0] < 1800:
            write(logs, "blog-web-1", count[0], stream=("stdout", "stderr")[count[0] % 2])
            count[0] += 1
            stop.wait(0.0005)

    thread = threading.Thread(target=writer)
    thread.start()
    clients = [logs.follow(tail=5), *(logs.follow(tail=tail) for _ in range(8))]
    stop.set()
    thread.join()
    write(logs, "blog-web-1", "end")
    until(lambda: all(client.lines[-1:] == ["end"] for client in clients))
    for client in clients:
        assert client.lines == [*numbers(int(client.lines[0]), count[0]), "end"]
        assert len(client.lines) >= (min(tail, 600) if client is not clients[0] else 5)


def test_lines_older_than_since_are_left_out(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    stamps = [logs.engine.write_log("blog-web-1", str(number)).timestamp for number in range(6)]
    assert logs.follow(since=stamps[4]).lines == ["4", "5"]
    client = logs.follow(since="2999-01-01T00:00:00Z")
    assert client.lines == []


def test_a_restart_is_followed_without_a_gap(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    write(logs, "blog-web-1", 0)
    clients = [logs.follow() for _ in range(3)]
    for rounds in range(1, 4):
        logs.engine.set_state("blog-web-1", "exited", exit_code=0)
        logs.engine.set_state("blog-web-1", "running")
        write(logs, "blog-web-1", rounds)
        until(lambda: all(client.lines[-1] == str(rounds) for client in clients))  # noqa: B023 - at once
    assert all(client.lines == numbers(0, 4) for client in clients)


def test_a_container_that_runs_for_a_moment_only_is_read_to_its_end(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    client = logs.follow()
    logs.engine.set_state("blog-web-1", "exited", exit_code=0)
    logs.engine.set_state("blog-web-1", "running")
    write(logs, "blog-web-1", "short")
    logs.engine.set_state("blog-web-1", "exited", exit_code=0)
    until(lambda: client.lines == ["short"])


def test_recreation_is_followed_from_the_new_containers_beginning(logs: Any, until: Any) -> None:
    old = logs.add("blog-web-1")
    write(logs, "blog-web-1", "old")
    clients = [logs.follow() for _ in range(5)]
    logs.engine.destroy(old.id)
    new = logs.add("blog-web-1", state="created")
    logs.engine.set_state(new.id, "running")
    write(logs, "blog-web-1", "new")
    until(lambda: all(client.lines == ["old", "new"] for client in clients))
    until(lambda: logs.engine.followers == 1)


def test_a_second_replica_that_comes_later_is_followed(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    client = logs.follow()
    logs.add("blog-web-2", number=2)
    write(logs, "blog-web-2", "here")
    until(lambda: client.lines == ["here"])
    assert logs.follow().lines == ["here"]


def test_the_stream_ends_when_everything_stays_stopped(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    client = logs.follow()
    write(logs, "blog-web-1", "last words")
    logs.engine.set_state("blog-web-1", "exited", exit_code=0)
    client.join()
    assert client.lines == ["last words"]
    assert client.ended == "stopped"


def test_a_short_stop_does_not_end_the_stream(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    client = logs.follow()
    for _ in range(4):
        logs.engine.set_state("blog-web-1", "exited", exit_code=0)
        threading.Event().wait(0.1)
        logs.engine.set_state("blog-web-1", "running")
    write(logs, "blog-web-1", "still here")
    until(lambda: client.lines == ["still here"])
    assert client.ended is None


def test_a_container_that_restarts_by_itself_is_not_stopped(logs: Any, until: Any) -> None:
    logs.add("blog-web-1", state="restarting")
    client = logs.follow()
    threading.Event().wait(0.5)
    assert client.ended is None
    logs.engine.set_state("blog-web-1", "running")
    write(logs, "blog-web-1", "up again")
    until(lambda: client.lines == ["up again"])


def test_without_any_container_the_stream_ends_too(logs: Any) -> None:
    assert logs.follow().join().ended == "stopped"


def test_a_stopped_container_shows_its_last_lines(logs: Any) -> None:
    logs.add("blog-web-1")
    write(logs, "blog-web-1", "was here")
    logs.engine.set_state("blog-web-1", "exited", exit_code=0)
    client = logs.follow().join()
    assert (client.lines, client.ended) == (["was here"], "stopped")


def test_the_stream_ends_at_once_when_the_deployment_is_deleted(logs: Any) -> None:
    container = logs.add("blog-web-1")
    client = logs.follow()
    logs.source.there = False
    logs.engine.destroy(container.id)
    assert client.join().ended == "deleted"


def test_a_folder_that_went_under_running_containers_is_noticed(logs: Any) -> None:
    logs.add("blog-web-1")
    client = logs.follow()
    logs.source.there = False
    assert client.join().ended == "deleted"


def test_docker_down_is_an_error_before_the_first_event(logs: Any) -> None:
    logs.add("blog-web-1")
    logs.engine.down = True
    assert isinstance(logs.follow().join().error, DockerUnavailable)


def test_docker_gone_ends_a_stream_with_an_error(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    clients = [logs.follow() for _ in range(3)]
    write(logs, "blog-web-1", "before")
    until(lambda: all(client.lines for client in clients))
    logs.engine.down = True
    for client in clients:
        assert isinstance(client.join().error, DockerUnavailable)
        assert client.lines == ["before"]


def test_a_new_follower_after_docker_came_back_reads_anew(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    old = logs.follow()
    logs.engine.down = True
    old.join()
    logs.engine.down = False
    new = logs.follow()
    write(logs, "blog-web-1", "back")
    until(lambda: new.lines == ["back"])


def test_a_log_that_cannot_be_read_is_said_and_spares_the_others(logs: Any, until: Any) -> None:
    logs.add("blog-db-1", "db", keeps_log=False)
    logs.add("blog-web-1")
    client = logs.follow()
    assert len(client.lines) == 1
    assert "keeps no log" in client.lines[0]
    write(logs, "blog-web-1", "hello")
    until(lambda: client.lines[1:] == ["hello"])


def test_when_no_log_can_be_read_the_request_fails(logs: Any) -> None:
    logs.add("blog-db-1", keeps_log=False)
    error = logs.follow().join().error
    assert isinstance(error, Failed)
    assert error.code == "LOGS_UNAVAILABLE"


def test_a_new_container_whose_log_cannot_be_read_is_said(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    client = logs.follow()
    logs.add("blog-db-1", "db", keeps_log=False)
    write(logs, "blog-web-1", "hello")
    until(lambda: "hello" in client.lines and any("keeps no log" in line for line in client.lines))
    threading.Event().wait(0.3)
    assert len(client.lines) == 2


def test_a_new_container_that_somebody_else_reads_already_comes_whole(logs: Any, until: Any) -> None:
    logs.add("blog-web-1")
    early = logs.source
    early.hidden = {"blog-web-2"}
    first = logs.follow()
    logs.add("blog-web-2", number=2)
    write(logs, "blog-web-2", *range(300))
    logs.source = logs.other_source()
    second = logs.follow(tail=10)
    assert second.lines == numbers(290, 300)
    early.hidden = set()
    logs.engine.emit("start", "blog-web-2")
    write(logs, "blog-web-2", *range(300, 310))
    until(lambda: first.lines == numbers(0, 310))
    until(lambda: second.lines == numbers(290, 310))
    assert logs.engine.followers == 2


@pytest.mark.parametrize("error", [NotFound("gone"), Failed("not readable", code="DOCKER_ERROR")])
def test_a_new_container_that_cannot_be_fetched_spares_the_others(
    logs: Any, until: Any, error: Exception
) -> None:
    logs.add("blog-web-1")
    early = logs.source
    early.hidden = {"blog-web-2"}
    first = logs.follow()
    logs.add("blog-web-2", number=2)
    write(logs, "blog-web-2", *range(300))
    logs.source = logs.other_source()
    logs.follow(tail=10)
    early.hidden = set()
    logs.engine.fail_next("logs", error)
    logs.engine.emit("start", "blog-web-2")
    write(logs, "blog-web-1", "hello")
    until(lambda: "hello" in first.lines)
    assert len(first.lines) == (1 if isinstance(error, NotFound) else 2)


def test_a_client_that_is_too_slow_loses_the_oldest_lines_and_is_told(
    logs: Any, until: Any, decode: Any
) -> None:
    logs.hub = LogHub(logs.engine, HubLimits(lines=20, settle=0.01))
    logs.add("blog-web-1")
    events = logs.events()
    assert next(events) is None
    until(lambda: logs.engine.followers == 1)
    write(logs, "blog-web-1", *range(100))
    quick = logs.follow(tail=1)
    until(lambda: quick.lines[-1:] == ["99"])
    received = decode(next(events).encode())
    events.close()
    assert received[0] == ("skipped", {"lines": 80})
    assert [data["line"] for _, data in received[1:]] == numbers(80, 100)


def test_a_container_that_floods_is_skipped_to_its_end(logs: Any, until: Any) -> None:
    logs.hub = LogHub(logs.engine, HubLimits(rate=100, behind=0.05, settle=0.01))
    logs.add("blog-web-1")
    client = logs.follow()
    until(lambda: logs.engine.followers == 1)
    write(logs, "blog-web-1", *range(400))
    until(lambda: ("skipped", {"lines": None}) in client.received)
    until(lambda: logs.engine.followers == 1)
    write(logs, "blog-web-1", "calm")
    until(lambda: client.lines[-1:] == ["calm"])
    assert len(client.lines) < 400


def test_a_reader_is_held_to_its_rate_but_a_burst_comes_whole(logs: Any, until: Any) -> None:
    logs.hub = LogHub(logs.engine, HubLimits(rate=2000, settle=0.01))
    logs.add("blog-web-1")
    client = logs.follow()
    until(lambda: logs.engine.followers == 1)
    write(logs, "blog-web-1", *range(500))
    until(lambda: client.lines == numbers(0, 500))


def test_many_followers_slow_a_flood_down_for_all_of_them(logs: Any, until: Any) -> None:
    logs.hub = LogHub(logs.engine, HubLimits(rate=1000, deliveries=1500, behind=60, settle=0.01))
    logs.add("blog-web-1")
    clients = [logs.follow() for _ in range(5)]
    until(lambda: logs.engine.followers == 1)
    began = time.monotonic()
    write(logs, "blog-web-1", *range(200))
    until(lambda: all(client.lines == numbers(0, 200) for client in clients))
    assert time.monotonic() - began > 0.3


def test_without_a_thread_to_read_with_the_request_fails(logs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.add("blog-web-1")
    events = logs.events()

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(Unavailable):
        next(events)
    assert logs.hub.idle


def test_an_unexpected_failure_of_a_reader_leaves_the_stream_and_is_logged(
    logs: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    logs.add("blog-web-1")
    logs.engine.fail_next("follow", RuntimeError("boom"))
    client = logs.follow()
    until(lambda: "boom" in caplog.text)
    other = logs.follow()
    write(logs, "blog-web-1", "again")
    until(lambda: other.lines == ["again"])
    assert client.error is None


def test_a_failed_beginning_gives_everything_back(logs: Any) -> None:
    logs.add("blog-web-1")
    logs.engine.fail_next("logs", DockerUnavailable("gone"))
    assert isinstance(logs.follow().join().error, DockerUnavailable)
    assert logs.hub.idle


def test_a_failed_fetch_of_more_lines_gives_everything_back(logs: Any) -> None:
    logs.add("blog-web-1")
    write(logs, "blog-web-1", *range(1500))
    keeper = logs.follow()
    logs.engine.fail_next("logs", DockerUnavailable("gone"))
    assert isinstance(logs.follow(tail=1400).join().error, DockerUnavailable)
    keeper.hang_up()
    assert logs.hub.idle


def test_a_stream_that_is_idle_says_so_soon(logs: Any) -> None:
    logs.add("blog-web-1")
    events = logs.events()
    assert [next(events) for _ in range(4)] == [None] * 4
    events.close()


def test_without_events_of_the_engine_a_restart_is_still_followed(
    logs: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs.engine, "subscribe", lambda listener: lambda: None)
    logs.add("blog-web-1")
    client = logs.follow()
    logs.engine.set_state("blog-web-1", "exited", exit_code=0)
    threading.Event().wait(0.1)
    logs.engine.set_state("blog-web-1", "running")
    write(logs, "blog-web-1", "up")
    until(lambda: client.lines == ["up"])
