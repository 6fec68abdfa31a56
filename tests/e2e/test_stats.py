"""Statistics of real containers, held against the Engine's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import docker
import pytest
from flatrun_e2e.panel import PanelProcess
from flatrun_e2e.private_engine import PrivateEngine
from flatrun_e2e.sites import WEB, compose_of, containers, create
from flatrun_e2e.streams import until

MIB = 1 << 20
# Holds 32 MiB in its memory and not in any cache. The last command takes a shell's place: not the sleep.
HOLD = "x=$(head -c 33554432 /dev/zero | tr '\\0' x); echo held; sleep 600; :".replace("$", "$$")
BUSY = {"command": ["sh", "-c", "while :; do :; done"], "network_mode": "none", "cpus": 0.5}


def stats(panel: PanelProcess, name: str) -> dict[str, Any]:
    answer = panel.get(f"/api/deployments/{name}/stats")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def engine_stats(engine: docker.APIClient, ids: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return what the Engine counts at this moment, by service."""
    return {service: engine.stats(one, stream=False, one_shot=True) for service, one in ids.items()}


def memory_of(theirs: dict[str, Any]) -> int:
    """Return the memory in use as `docker stats` shows it: without the cache that can be dropped."""
    memory = theirs["memory_stats"]
    cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
    used: int = memory["usage"] - cache
    return used


def received_of(theirs: dict[str, Any]) -> int:
    return sum(device["rx_bytes"] for device in theirs["networks"].values())


def cpu_between(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Return the seconds of processor that one container had between two looks of the Engine."""
    used: int = (
        after["cpu_stats"]["cpu_usage"]["total_usage"] - before["cpu_stats"]["cpu_usage"]["total_usage"]
    )
    return used / 1e9


def test_numbers_are_those_of_the_engine(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    hold = {"command": ["sh", "-c", HOLD], "mem_limit": "128m"}
    text = compose_of(busybox_image, hold=hold, busy=BUSY, web=WEB)
    create(module_panel, unique_name, text, auto_start=True)
    ids = {name: containers(engine, unique_name, name)[0]["Id"] for name in ("hold", "busy", "web")}
    # From here on nothing moves but the busy one: the shell holds its memory and has no helpers left.
    until(lambda: b"held" in engine.logs(ids["hold"]), 60)
    time.sleep(0.9)
    # Between the first two looks of ours is the second of the Engine's, and around them all the others:
    # what is counted can only grow from each to the next, however long a busy machine takes for them.
    begun, earliest = time.monotonic(), engine_stats(engine, ids)
    stats(module_panel, unique_name)
    inner, first = time.monotonic(), engine_stats(engine, ids)
    time.sleep(0.9)
    before, shortest = engine_stats(engine, ids), time.monotonic() - inner
    found = {one["service"]: one for one in stats(module_panel, unique_name)["services"]}
    longest, after = time.monotonic() - begun, engine_stats(engine, ids)
    for service, ours in found.items():
        least = cpu_between(first[service], before[service]) / longest * 100
        most = cpu_between(earliest[service], after[service]) / shortest * 100
        assert least - 0.1 <= ours["cpu_percent"] <= most + 0.1
        assert ours["container_id"] == ids[service][:12]
    # It may have half a processor; a busy machine may give it less.
    assert 0 < found["busy"]["cpu_percent"] < 65
    assert found["web"]["cpu_percent"] < 5
    for service in ("hold", "web"):
        ours, looks = found[service], (before[service], after[service])
        memory = [memory_of(look) for look in looks]
        assert min(memory) - MIB < ours["memory_usage"] < max(memory) + MIB
        assert {ours["pids"]} == {look["pids_stats"]["current"] for look in looks}
        assert received_of(looks[0]) <= ours["network_rx"] <= received_of(looks[1])
    assert found["hold"]["memory_usage"] > 32 * MIB
    assert found["hold"]["memory_limit"] == 128 * MIB
    assert found["hold"]["memory_percent"] == pytest.approx(
        found["hold"]["memory_usage"] / (128 * MIB) * 100, abs=1
    )
    assert found["web"]["memory_limit"] == engine.info()["MemTotal"]
    summary = stats(module_panel, unique_name)["summary"]
    assert summary["memory_limit"] == 128 * MIB + engine.info()["MemTotal"]


def test_traffic_and_writes_are_counted(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    fetch = "until wget -q -O /dev/null http://web/; do sleep 0.1; done; sleep 600"
    text = compose_of(busybox_image, web=WEB, client={"command": ["sh", "-c", fetch]})
    create(module_panel, unique_name, text, auto_start=True)

    def sent() -> dict[str, int]:
        return {one["service"]: one["network_tx"] for one in stats(module_panel, unique_name)["services"]}

    until(lambda: sent()["web"] > 200 and sent()["client"] > 200)


def test_the_hosts_network_is_not_a_containers(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    text = compose_of(busybox_image, web={"network_mode": "host"})
    create(module_panel, unique_name, text, auto_start=True)
    (one,) = stats(module_panel, unique_name)["services"]
    assert (one["network_rx"], one["network_tx"]) == (0, 0)


def test_a_container_that_starts_again_is_counted_anew(
    module_panel: PanelProcess, engine: docker.APIClient, busybox_image: str, unique_name: str
) -> None:
    create(module_panel, unique_name, compose_of(busybox_image, busy=BUSY), auto_start=True)
    (busy,) = containers(engine, unique_name)
    for _ in range(2):
        assert 0 < stats(module_panel, unique_name)["summary"]["cpu_percent"] < 110
        engine.restart(busy["Id"], timeout=0)
    assert 0 < stats(module_panel, unique_name)["summary"]["cpu_percent"] < 110
    engine.stop(busy["Id"], timeout=0)
    until(lambda: stats(module_panel, unique_name)["services"] == [])


def test_ten_containers_are_counted_each_time(
    module_panel: PanelProcess, busybox_image: str, unique_name: str
) -> None:
    text = compose_of(busybox_image, **{f"s{number}": {} for number in range(10)})
    create(module_panel, unique_name, text, auto_start=True)
    for _ in range(5):
        assert len(stats(module_panel, unique_name)["services"]) == 10


def test_with_docker_down_there_is_an_error(
    start_panel: Callable[..., PanelProcess],
    private_engine: PrivateEngine,
    busybox_image: str,
    unique_name: str,
) -> None:
    panel = start_panel(engine=private_engine)
    text = compose_of(busybox_image, web={"network_mode": "none"})
    create(panel, unique_name, text, auto_start=True)
    # Its control group lies elsewhere than the main Engine's: found by the container's process.
    assert len(stats(panel, unique_name)["services"]) == 1
    private_engine.stop()
    answer = panel.get(f"/api/deployments/{unique_name}/stats")
    assert (answer.status_code, answer.json()["code"]) == (503, "DOCKER_UNAVAILABLE")
