"""Logs of real containers: as a text, and as streams that follow restarts and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from flatrun_e2e.panel import PanelProcess
from flatrun_e2e.private_engine import PrivateEngine
from flatrun_e2e.sites import compose_of, containers, create
from flatrun_e2e.streams import Stream, until

# Writes numbered lines to both streams in turn, $1 seconds apart, and stops at once when told.
TICKER = """
trap 'exit 0' TERM
i=0
while :; do echo "$0 out $i"; echo "$0 err $i" >&2; i=$((i+1)); sleep %s & wait $!; done
"""


def ticker(name: str, gap: float = 0.1, **more: Any) -> dict[str, Any]:
    return {"command": ["sh", "-c", (TICKER % gap).replace("$", "$$"), name], "network_mode": "none", **more}


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"command": ["sh", "-c", text.replace("$", "$$")], "network_mode": "none", **more}


@pytest.fixture
def follow() -> Iterator[Callable[..., Stream]]:
    """Return a function that opens streams, all of which are hung up at the end."""
    streams: list[Stream] = []

    def start(panel: PanelProcess, path: str, key: str | None = None) -> Stream:
        streams.append(Stream(panel, path, key))
        return streams[-1]

    yield start
    for stream in streams:
        stream.hang_up()


def sockets(panel: PanelProcess) -> int:
    assert panel.process is not None
    found = 0
    for fd in Path(f"/proc/{panel.process.pid}/fd").iterdir():
        try:
            found += str(fd.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def resident(panel: PanelProcess) -> int:
    """Return the panel's memory in KiB."""
    assert panel.process is not None
    status = Path(f"/proc/{panel.process.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


def runs_of(lines: list[str], stream: str, service: str = "web") -> list[list[int]]:
    """Return the numbers a ticker wrote to one stream, one list for each of its runs."""
    runs: list[list[int]] = []
    for line in lines:
        name, kind, number = ([*line.split(), "", ""])[:3]
        if (name, kind) == (service, stream):
            if number == "0" or not runs:
                runs.append([])
            runs[-1].append(int(number))
    return runs


def assert_gapless(lines: list[str], runs: int, service: str = "web") -> None:
    """Insist on every line of both streams, each once, through so many runs."""
    for stream in ("out", "err"):
        found = runs_of(lines, stream, service)
        assert len(found) == runs, found
        for run in found:
            assert run == list(range(run[0], run[0] + len(run)))
        assert all(run[0] == 0 for run in found[1:])


def test_the_text_has_both_streams_of_every_service_and_replica(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    once = says("echo hello; echo oops >&2; sleep 600", deploy={"replicas": 2})
    colour = says("printf '\\033[31mred\\033[0m\\n'; sleep 600")
    create(module_panel, unique_name, compose_of(busybox_image, web=once, db=colour), auto_start=True)
    path = f"/api/deployments/{unique_name}/logs?timestamps=false"
    wanted = ["db-1  | red", "web-1  | hello", "web-1  | oops", "web-2  | hello", "web-2  | oops"]
    until(lambda: sorted(module_panel.get(path).json()["logs"].splitlines()) == wanted)
    alone = module_panel.get(f"{path}&service=db").json()
    assert alone == {"name": unique_name, "logs": "db-1  | red\n"}
    assert len(module_panel.get(f"{path}&tail=3").json()["logs"].splitlines()) == 3
    assert module_panel.get(f"{path}&since=2999-01-01T00:00:00Z").json()["logs"] == ""
    assert module_panel.get(f"{path}&service=nope").json()["code"] == "SERVICE_NOT_FOUND"
    stamped = module_panel.get(f"/api/deployments/{unique_name}/logs?service=db").json()["logs"]
    assert stamped.split()[2].endswith("Z")


def test_a_long_line_and_a_terminal_are_read_whole(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    long = says("head -c 40000 /dev/zero | tr '\\0' x; echo; sleep 600")
    terminal = says("echo on a terminal; sleep 600", tty=True)
    create(module_panel, unique_name, compose_of(busybox_image, long=long, tty=terminal), auto_start=True)
    path = f"/api/deployments/{unique_name}/logs?timestamps=0"
    until(lambda: len(module_panel.get(path).json()["logs"]) > 40000)
    assert sorted(module_panel.get(path).json()["logs"].splitlines()) == [
        f"long-1  | {'x' * 40000}",
        "tty-1  | on a terminal",
    ]


def test_a_stream_follows_restart_recreation_and_deletion(
    module_panel: PanelProcess,
    engine: docker.APIClient,
    busybox_image: str,
    unique_name: str,
    follow: Callable[..., Stream],
) -> None:
    create(module_panel, unique_name, compose_of(busybox_image, web=ticker("web")), auto_start=True)
    url = f"/api/deployments/{unique_name}"
    stream = follow(module_panel, f"{url}/logs?follow=true")
    until(lambda: len(stream.lines) > 10)
    (old,) = containers(engine, unique_name)
    engine.restart(old["Id"])
    until(lambda: len(runs_of(stream.lines, "out")) == 2 and len(runs_of(stream.lines, "out")[1]) > 5)
    assert module_panel.post(f"{url}/restart").status_code == 200
    until(lambda: len(runs_of(stream.lines, "out")) == 3 and len(runs_of(stream.lines, "out")[2]) > 5)
    (new,) = containers(engine, unique_name)
    assert new["Id"] != old["Id"]
    assert module_panel.delete(url).status_code == 200
    assert stream.last() == ("end", {"reason": "deleted"})
    assert_gapless(stream.lines, 3)


def test_a_crash_loop_is_followed_line_by_line(
    module_panel: PanelProcess, busybox_image: str, unique_name: str, follow: Callable[..., Stream]
) -> None:
    crash = says("echo web out 0; echo web out 1; sleep 0.3; echo web out 2; exit 1", restart="always")
    create(module_panel, unique_name, compose_of(busybox_image, web=crash), auto_start=True)
    stream = follow(module_panel, f"/api/deployments/{unique_name}/logs?follow=true")
    until(lambda: len(runs_of(stream.lines, "out")) > 5, 30)
    assert all(run == [0, 1, 2] for run in runs_of(stream.lines, "out")[:-1])
    assert stream.events.count("end") == 0


def test_a_stream_of_one_service_ends_ten_seconds_after_its_stop(
    module_panel: PanelProcess,
    engine: docker.APIClient,
    busybox_image: str,
    unique_name: str,
    follow: Callable[..., Stream],
) -> None:
    text = compose_of(busybox_image, web=ticker("web"), db=ticker("db"))
    create(module_panel, unique_name, text, auto_start=True)
    stream = follow(module_panel, f"/api/deployments/{unique_name}/logs?follow=1&service=db&tail=2")
    until(lambda: len(stream.lines) > 4)
    (db,) = containers(engine, unique_name, "db")
    engine.stop(db["Id"])
    stopped = time.monotonic()
    assert stream.last() == ("end", {"reason": "stopped"})
    assert time.monotonic() - stopped > 9
    assert_gapless(stream.lines, 1, "db")
    assert runs_of(stream.lines, "out", "web") == []


def test_a_log_that_its_driver_does_not_keep_is_said(
    module_panel: PanelProcess, busybox_image: str, unique_name: str, follow: Callable[..., Stream]
) -> None:
    silent = says("sleep 600", logging={"driver": "none"})
    create(
        module_panel, unique_name, compose_of(busybox_image, web=ticker("web"), none=silent), auto_start=True
    )
    url = f"/api/deployments/{unique_name}/logs?timestamps=0"
    assert "none-1  | [The container's logging driver 'none'" in module_panel.get(url).json()["logs"]
    stream = follow(module_panel, f"{url}&follow=true")
    until(lambda: any("logging driver" in line for line in stream.lines) and len(stream.lines) > 5)
    answer = module_panel.get(f"{url}&service=none")
    assert (answer.status_code, answer.json()["code"]) == (500, "LOGS_UNAVAILABLE")


def test_a_client_that_goes_takes_its_connection_to_docker_along(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    quiet = says("echo one line; sleep 600")
    create(module_panel, unique_name, compose_of(busybox_image, web=quiet), auto_start=True)
    module_panel.get(f"/api/deployments/{unique_name}/logs")
    before = sockets(module_panel)
    streams = [Stream(module_panel, f"/api/deployments/{unique_name}/logs?follow=1") for _ in range(5)]
    until(lambda: all(stream.lines == ["one line"] for stream in streams))
    assert sockets(module_panel) >= before + 5
    for stream in streams:
        stream.hang_up()
    until(lambda: sockets(module_panel) <= before, 3)


def test_the_panels_end_ends_streams_with_an_event(
    panel: PanelProcess, busybox_image: str, unique_name: str, follow: Callable[..., Stream]
) -> None:
    create(panel, unique_name, compose_of(busybox_image, web=ticker("web")), auto_start=True)
    stream = follow(panel, f"/api/deployments/{unique_name}/logs?follow=1")
    until(lambda: len(stream.lines) > 2)
    assert panel.terminate() == 0
    assert stream.last() == ("end", {"reason": "shutdown"})


def test_docker_going_away_ends_streams_with_an_error(
    start_panel: Callable[..., PanelProcess],
    private_engine: PrivateEngine,
    busybox_image: str,
    unique_name: str,
    follow: Callable[..., Stream],
) -> None:
    panel = start_panel(engine=private_engine)
    create(panel, unique_name, compose_of(busybox_image, web=ticker("web")), auto_start=True)
    path = f"/api/deployments/{unique_name}/logs"
    stream = follow(panel, f"{path}?follow=1")
    until(lambda: len(stream.lines) > 2)
    private_engine.kill9()
    event, data = stream.last()
    assert (event, data["code"]) == ("error", "DOCKER_UNAVAILABLE")
    for query in ("", "?follow=1"):
        answer = panel.get(path + query)
        assert (answer.status_code, answer.json()["code"]) == (503, "DOCKER_UNAVAILABLE")
    private_engine.start()
    until(lambda: panel.get(path).status_code == 200)
    assert panel.post(f"/api/deployments/{unique_name}/start").status_code == 200
    again = follow(panel, f"{path}?follow=1&tail=1")
    until(lambda: len(again.lines) > 2)


def test_a_container_that_floods_leaves_the_panel_quick_and_says_what_it_skips(
    panel: PanelProcess, busybox_image: str, unique_name: str, follow: Callable[..., Stream]
) -> None:
    flood = says("yes a line of a container that floods its log", logging={"options": {"max-size": "20m"}})
    create(panel, unique_name, compose_of(busybox_image, web=flood), auto_start=True)
    streams = [follow(panel, f"/api/deployments/{unique_name}/logs?follow=1") for _ in range(5)]
    until(lambda: all("skipped" in stream.events for stream in streams), 30)
    assert resident(panel) < 150_000
    assert panel.get("/api/health").status_code == 200
    panel.post(f"/api/deployments/{unique_name}/stop")


def test_a_hundred_followers_get_every_line_and_starve_nobody(
    panel: PanelProcess, busybox_image: str, unique_name: str, follow: Callable[..., Stream]
) -> None:
    create(panel, unique_name, compose_of(busybox_image, web=ticker("web")), auto_start=True)
    path = f"/api/deployments/{unique_name}/logs?follow=1&tail=10"
    follow(panel, path)
    for _ in range(20):
        panel.get("/api/deployments")
    before = resident(panel)
    streams = [follow(panel, path) for _ in range(99)]
    assert {stream.status for stream in streams} == {200}

    def everybody_has_lines() -> bool:
        for other in ("/api/deployments", "/api/health", "/api/containers"):
            assert panel.get(other).status_code == 200
        return all(len(stream.lines) > 60 for stream in streams)

    until(everybody_has_lines, 60)
    grown = (resident(panel) - before) / len(streams)
    assert grown <= 1024, f"{grown:.0f} KiB a follower"
    for stream in streams:
        assert_gapless(stream.lines, 1)
    answer = panel.get(path.replace("tail=10", "tail=0"))
    assert answer.status_code == 400


def test_more_streams_than_there_are_places_are_refused(
    start_panel: Callable[..., PanelProcess],
    busybox_image: str,
    unique_name: str,
    follow: Callable[..., Stream],
) -> None:
    panel = start_panel(settings={"api": {"max_streams": 2}})
    create(panel, unique_name, compose_of(busybox_image, web=ticker("web")), auto_start=True)
    path = f"/api/deployments/{unique_name}/logs?follow=1"
    first, second = follow(panel, path), follow(panel, path)
    answer = panel.get(path)
    assert (answer.status_code, answer.json()["code"]) == (503, "TOO_MANY_STREAMS")
    assert answer.headers["Retry-After"]
    first.hang_up()
    until(lambda: follow(panel, path).status == 200, 3)
    assert not second.ended


def test_one_container_is_read_and_followed_by_its_name_through_recreation(
    module_panel: PanelProcess,
    engine: docker.APIClient,
    busybox_image: str,
    unique_name: str,
    follow: Callable[..., Stream],
) -> None:
    create(module_panel, unique_name, compose_of(busybox_image, web=ticker("web")), auto_start=True)
    (web,) = containers(engine, unique_name)
    name = web["Names"][0].lstrip("/")
    url = f"/api/containers/{name}/logs"
    until(lambda: "web err 1\n" in module_panel.get(url).json()["logs"])
    # Docker itself may turn lines round that came to the two streams at the same time.
    assert {"web out 0", "web err 0"} == set(module_panel.get(url).json()["logs"].splitlines()[:2])
    by_name, by_id = (
        follow(module_panel, f"{url}?follow=1"),
        follow(module_panel, f"/api/containers/{web['Id'][:12]}/logs?follow=1"),
    )
    until(lambda: len(by_name.lines) > 5 and len(by_id.lines) > 5)
    assert module_panel.post(f"/api/deployments/{unique_name}/restart").status_code == 200
    until(lambda: len(runs_of(by_name.lines, "out")) == 2 and len(runs_of(by_name.lines, "out")[1]) > 3)
    assert by_id.last() == ("end", {"reason": "deleted"})
    assert_gapless(by_name.lines, 2)


def test_the_command_line_follows_too(
    module_panel: PanelProcess, busybox_image: str, unique_name: str, tmp_path: Path
) -> None:
    create(module_panel, unique_name, compose_of(busybox_image, web=ticker("web")), auto_start=True)
    url = f"/api/deployments/{unique_name}"
    # A container that has started need not have written anything yet.
    until(lambda: "web err 0" in module_panel.get(f"{url}/logs").json()["logs"])
    program = str(Path(sys.executable).with_name("flatrun"))
    access = ["--url", module_panel.url, "--key", module_panel.key]
    argv = [program, "deployments", "logs", unique_name, *access, "--tail", "10000"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert "web-1  | web out 0" in done.stdout.splitlines()
    printed = tmp_path / "printed"
    with printed.open("w") as output, subprocess.Popen([*argv, "--follow"], stdout=output) as following:
        try:
            until(printed.read_text, 30)
            seen = len(printed.read_text().splitlines())
            until(lambda: len(printed.read_text().splitlines()) > seen + 10, 30)
            assert module_panel.delete(url).status_code == 200
            assert following.wait(30) == 0
        finally:
            following.kill()
    lines = [line.removeprefix("web  | ") for line in printed.read_text().splitlines()]
    assert "web out 0" in lines
    assert_gapless(lines, 1)
