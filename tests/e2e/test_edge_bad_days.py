"""The proxy on bad days: stopped, removed, in a restart loop, its port taken, its files broken."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import docker
import pytest
from flatrun_e2e.edge import Edge, wait_until

FIRST, SECOND, THIRD = "first.example.test", "second.example.test", "third.example.test"
BROKEN = b"\nthis is { no configuration\n"


@pytest.fixture
def sites(edge: Edge, new_name: Callable[[], str], application_image: str) -> tuple[str, str]:
    """Return the names of two deployments that are served."""
    names = (new_name(), new_name())
    for name, host in zip(names, (FIRST, SECOND), strict=True):
        edge.site(name, application_image)
        edge.add(name, host)
        edge.wait(host, 200)
    return names


def result_of(edge: Edge, deployment: str, host: str) -> dict[str, Any]:
    """Add a domain and return what the panel says of the proxy."""
    result: dict[str, Any] = edge.add(deployment, host)["proxy_result"]
    return result


def state(edge: Edge) -> str:
    return str(edge.container()["State"]["Status"])


def spoil(edge: Edge, deployment: str) -> None:
    """Break the file of a deployment by hand."""
    path = edge.folder / "conf.d" / f"{deployment}.conf"
    path.write_bytes(path.read_bytes() + BROKEN)


def staging(edge: Edge) -> list[str]:
    return [path.name for path in (edge.folder / "conf.d").iterdir() if path.is_dir()]


def test_a_stopped_proxy_stays_stopped_and_serves_what_was_changed_when_it_starts(
    edge: Edge, sites: tuple[str, str]
) -> None:
    edge.engine.stop(edge.name, timeout=2)
    result = result_of(edge, sites[0], THIRD)
    assert (result["nginx_reloaded"], result["success"]) == (False, True)
    assert "start" in result["message"]
    assert state(edge) == "exited"
    edge.engine.start(edge.name)
    edge.wait(THIRD, 200)
    assert edge.status(SECOND) == 200


def test_a_removed_proxy_is_made_again_by_the_next_change(edge: Edge, sites: tuple[str, str]) -> None:
    edge.engine.remove_container(edge.name, force=True)
    result_of(edge, sites[0], THIRD)
    for host in (FIRST, SECOND, THIRD):
        edge.wait(host, 200)


def test_a_removed_proxy_is_made_again_when_the_panel_starts(edge: Edge, sites: tuple[str, str]) -> None:
    edge.panel.terminate()
    edge.engine.remove_container(edge.name, force=True)
    edge.panel.start()
    for host in (FIRST, SECOND):
        edge.wait(host, 200)


def test_a_taken_port_keeps_nothing_from_being_stored(
    edge: Edge, unique_name: str, application_image: str
) -> None:
    edge.site(unique_name, application_image)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", edge.ports.http))
        taken.listen()
        result = result_of(edge, unique_name, FIRST)
        assert result["nginx_reloaded"] is False
        assert result["message"]
    result_of(edge, unique_name, SECOND)
    edge.wait(FIRST, 200)
    edge.wait(SECOND, 200)


def test_a_file_that_was_broken_by_hand_stops_no_other_site(edge: Edge, sites: tuple[str, str]) -> None:
    spoil(edge, sites[0])
    assert result_of(edge, sites[1], THIRD)["nginx_reloaded"] is True
    for host in (SECOND, THIRD):
        edge.wait(host, 200)
    healed_or_told(edge, sites[0], FIRST)


def test_a_proxy_in_a_restart_loop_is_brought_back_by_the_next_change(
    edge: Edge, sites: tuple[str, str]
) -> None:
    spoil(edge, sites[0])
    edge.engine.restart(edge.name, timeout=2)
    wait_until(lambda: state(edge) in {"restarting", "exited"}, True, 60)
    result_of(edge, sites[1], THIRD)
    for host in (SECOND, THIRD):
        edge.wait(host, 200, seconds=90)
    healed_or_told(edge, sites[0], FIRST)


def test_a_panel_that_starts_repairs_what_was_broken(edge: Edge, sites: tuple[str, str]) -> None:
    edge.panel.terminate()
    spoil(edge, sites[0])
    edge.engine.restart(edge.name, timeout=2)
    wait_until(lambda: state(edge) in {"restarting", "exited"}, True, 60)
    edge.panel.start()
    edge.wait(SECOND, 200, seconds=90)
    healed_or_told(edge, sites[0], FIRST)


def healed_or_told(edge: Edge, deployment: str, host: str) -> None:
    """A broken site is served again, or left out with a reason."""
    status = edge.panel.get(f"/api/proxy/status/{deployment}").json()["status"]
    if status.get("quarantined"):
        assert status["quarantine_reason"]
    else:
        edge.wait(host, 200)


@pytest.mark.parametrize("stopped", [False, True], ids=["at the next change", "at the panel's start"])
def test_a_strange_file_that_nginx_refuses_stops_no_site(
    edge: Edge, sites: tuple[str, str], stopped: bool
) -> None:
    strange = edge.folder / "conf.d/by-hand.conf"
    strange.write_bytes(BROKEN)
    if stopped:
        edge.panel.terminate()
        edge.engine.restart(edge.name, timeout=2)
        edge.panel.start()
    else:
        result_of(edge, sites[1], THIRD)
        edge.wait(THIRD, 200)
    for host in (FIRST, SECOND):
        edge.wait(host, 200, seconds=90)


def test_a_good_file_by_hand_is_served_and_left_alone(edge: Edge, sites: tuple[str, str]) -> None:
    text = "server { listen 80; server_name hand.example.test; location / { return 200 'by hand'; } }\n"
    strange = edge.folder / "conf.d/by-hand.conf"
    strange.write_text(text)
    result_of(edge, sites[1], THIRD)
    edge.wait("hand.example.test", 200)
    assert edge.visit("hand.example.test").text == "by hand"
    assert strange.read_text() == text


def set_reload(edge: Edge, command: str) -> None:
    """Write another reload command into the settings of a panel that does not run."""
    text = edge.panel.config.read_text()
    lines = [line for line in text.splitlines() if "reload_command" not in line]
    place = next(number for number, line in enumerate(lines) if line.startswith("nginx:"))
    lines.insert(place + 1, f"  reload_command: {command}")
    edge.panel.config.write_text("\n".join(lines) + "\n")


def test_a_panel_killed_between_writing_and_reloading_repairs_at_its_start(
    edge: Edge, sites: tuple[str, str], engine: docker.APIClient
) -> None:
    edge.panel.terminate()
    # A command that never ends: the files are in place then, and nginx does not know them.
    set_reload(edge, "sleep 600")
    edge.panel.start()
    hanging = asked_and_gone(edge, sites[0], THIRD)
    wait_until(lambda: THIRD.encode() in edge.files[f"{sites[0]}.conf"] and sleeps(edge), True)
    edge.panel.kill9()
    hanging.close()
    assert edge.status(THIRD) != 200
    set_reload(edge, "nginx -s reload")
    edge.panel.start()
    for host in (FIRST, SECOND):
        edge.wait(host, 200)
    wait_until(lambda: edge.status(THIRD) == 200, THIRD in domains(edge, sites[0]))
    wait_until(lambda: staging(edge), [])


def asked_and_gone(edge: Edge, deployment: str, host: str) -> socket.socket:
    """Send a request for a domain and wait for no answer."""
    body = f'{{"domain": "{host}", "service": "web", "port": 8000}}'
    address, _, port = edge.panel.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((address, int(port)), 30)
    connection.sendall(
        f"POST /api/deployments/{deployment}/domains HTTP/1.1\r\nHost: panel\r\n"
        f"Authorization: Bearer {edge.panel.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return connection


def sleeps(edge: Edge) -> bool:
    """Tell whether the reload command of the test runs in the proxy's container."""
    rows = edge.engine.top(edge.name, ps_args="-eo pid,args")["Processes"]
    return any("sleep 600" in row[1] for row in rows)


def domains(edge: Edge, deployment: str) -> list[str]:
    answer = edge.panel.get(f"/api/deployments/{deployment}/domains").json()
    return [entry["domain"] for entry in answer["domains"]]


def test_a_panel_killed_at_any_moment_serves_what_its_files_say(edge: Edge, sites: tuple[str, str]) -> None:
    for number in range(6):
        hanging = asked_and_gone(edge, sites[number % 2], f"n{number}.example.test")
        marks = edge.files
        # Each round dies a little later than the one before.
        for _ in range(number * 3):
            if edge.files != marks:
                break
            edge.panel.get("/api/health")
        edge.panel.kill9()
        hanging.close()
        edge.panel.start()
    wanted = {host: name for name in sites for host in domains(edge, name)}
    assert {FIRST, SECOND} <= set(wanted)
    for host, name in wanted.items():
        edge.wait(host, 200)
        assert edge.visit(host).application == name
    wait_until(lambda: staging(edge), [])
    served = edge.panel.get("/api/proxy/vhosts")
    assert served.status_code == 200
