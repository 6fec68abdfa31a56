"""The routes of logs and statistics, with Docker in memory."""

import json
from typing import Any

import pytest

from flatrun_core import Failed, Level, NotFound
from flatrun_core.ports.docker import ONEOFF_LABEL, PROJECT_LABEL, SERVICE_LABEL
from flatrun_deployments.log_schemas import DeploymentLogs, DeploymentStats, UsageItem, UsageSum
from flatrun_deployments.log_stream import LOGS

COMPOSE = "services:\n  web:\n    image: busybox\n  db:\n    image: busybox\n"
URL = "/api/deployments/blog/logs"
STATS = "/api/deployments/blog/stats"


@pytest.fixture
def blog(bench: Any) -> Any:
    bench.create(compose=COMPOSE, auto_start=True)
    (bench.web,) = bench.engine.of_project("blog", "web")
    (bench.db,) = bench.engine.of_project("blog", "db")
    return bench


def text(bench: Any, query: str = "") -> str:
    answer = bench.client.get(f"{URL}?{query}")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    body = answer.get_json()
    assert set(body) == {"name", "logs"} == set(DeploymentLogs().fields)
    assert body["name"] == "blog"
    return str(body["logs"])


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def events(answer: Any, count: int) -> list[tuple[str, dict[str, Any]]]:
    """The first events of a stream, which is then closed."""
    found: list[tuple[str, dict[str, Any]]] = []
    for chunk in answer.response:
        for block in bytes(chunk).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                found.append((fields["event"], json.loads(fields["data"])))
        if len(found) >= count:
            break
    answer.close()
    return found


def test_lines_of_all_services_come_by_time_with_their_service_in_front(blog: Any) -> None:
    first = blog.engine.write_log(blog.web.id, "\x1b[32mGET /\x1b[0m")
    second = blog.engine.write_log(blog.db.id, "ready", "stderr")
    assert text(blog) == f"web-1  | {first.timestamp} GET /\ndb-1  | {second.timestamp} ready\n"
    assert text(blog, "timestamps=false") == "web-1  | GET /\ndb-1  | ready\n"


def test_without_containers_or_lines_the_text_is_empty(bench: Any) -> None:
    bench.create(compose=COMPOSE)
    assert text(bench) == ""


def test_the_tail_counts_over_all_services_and_is_a_hundred_by_default(blog: Any) -> None:
    for number in range(150):
        blog.engine.write_log((blog.web, blog.db)[number % 2].id, str(number))
    lines = text(blog, "timestamps=0").splitlines()
    assert [line.split("| ")[1] for line in lines] == [str(number) for number in range(50, 150)]
    assert text(blog, "tail=1&timestamps=0") == "db-1  | 149\n"
    assert len(text(blog, "tail=99999").splitlines()) == 150


@pytest.mark.parametrize("tail", ["0", "-1", "all", "", "1.5", "1e3"])
def test_any_other_tail_is_refused(blog: Any, tail: str) -> None:
    assert refusal(blog.client.get(f"{URL}?tail={tail}")) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("query", ["follow=yes", "timestamps=2", "since=yesterday", "since=-5m", "since=5"])
def test_any_other_query_is_refused(blog: Any, query: str) -> None:
    assert refusal(blog.client.get(f"{URL}?{query}")) == (400, "VALIDATION_ERROR")


def test_one_service_alone(blog: Any) -> None:
    blog.engine.write_log(blog.web.id, "GET /")
    blog.engine.write_log(blog.db.id, "ready")
    assert text(blog, "service=db&timestamps=false") == "db-1  | ready\n"
    assert len(text(blog, "service=").splitlines()) == 2


@pytest.mark.parametrize("follow", ["false", "true"])
def test_a_service_that_the_compose_file_does_not_have_is_not_found(blog: Any, follow: str) -> None:
    answer = blog.client.get(f"{URL}?service=cache&follow={follow}")
    assert refusal(answer) == (404, "SERVICE_NOT_FOUND")


def test_lines_since_a_time_or_a_while(blog: Any) -> None:
    blog.engine.write_log(blog.web.id, "old", timestamp="2024-01-01T00:00:00.000000000Z")
    blog.engine.write_log(blog.web.id, "new")
    assert text(blog, "since=1h&timestamps=0") == "web-1  | new\n"
    assert text(blog, "since=2024-01-01T00:00:00.5Z&timestamps=0") == "web-1  | new\n"
    assert len(text(blog, "since=2023-12-31T23:00:00%2B00:00").splitlines()) == 2


def test_what_compose_run_made_is_not_among_them(blog: Any) -> None:
    labels = {PROJECT_LABEL: "blog", SERVICE_LABEL: "web", ONEOFF_LABEL: "True"}
    once = blog.engine.add("blog-web-run-1", labels=labels)
    blog.engine.write_log(once.id, "migrated")
    assert text(blog) == ""


def test_a_log_that_cannot_be_read_is_said_in_its_place(blog: Any) -> None:
    blog.db.keeps_log = False
    blog.engine.write_log(blog.web.id, "GET /")
    lines = text(blog, "timestamps=0").splitlines()
    assert lines[0] == "web-1  | GET /"
    assert "db-1  | [" in lines[1]
    blog.web.keeps_log = False
    assert refusal(blog.client.get(URL)) == (500, "LOGS_UNAVAILABLE")


def test_a_container_that_goes_meanwhile_is_left_out(blog: Any) -> None:
    blog.engine.write_log(blog.db.id, "ready")
    blog.engine.fail_next("logs", NotFound("gone"))
    assert len(text(blog).splitlines()) <= 1


@pytest.mark.parametrize("path", [URL, f"{URL}?follow=1", STATS])
def test_with_docker_down_there_is_an_error_and_nothing_empty(blog: Any, path: str) -> None:
    blog.engine.down = True
    assert refusal(blog.client.get(path)) == (503, "DOCKER_UNAVAILABLE")


@pytest.mark.parametrize("what", ["logs", "logs?follow=true", "stats"])
def test_an_unknown_deployment_is_not_found(bench: Any, what: str) -> None:
    assert refusal(bench.client.get(f"/api/deployments/nobody/{what}")) == (404, "DEPLOYMENT_NOT_FOUND")


@pytest.mark.parametrize("what", ["logs", "logs?follow=true&tail=x", "stats"])
def test_only_who_may_read_the_deployment_sees_it(blog: Any, flatrun_login: Any, what: str) -> None:
    path = f"/api/deployments/blog/{what}"
    assert blog.client.get(path, headers={"Authorization": ""}).status_code == 401
    without = flatrun_login(blog.app, ["containers:read"], {"blog": Level.ADMIN})
    assert refusal(without.get(path)) == (403, "PERMISSION_DENIED")
    elsewhere = flatrun_login(blog.app, ["deployments:read"], {"other": Level.ADMIN})
    assert refusal(elsewhere.get(path)) == (403, "DEPLOYMENT_FORBIDDEN")
    assert refusal(elsewhere.get(path.replace("blog", "nobody"))) == (403, "DEPLOYMENT_FORBIDDEN")


def test_a_stream_begins_with_the_last_lines(blog: Any, flatrun_login: Any) -> None:
    blog.engine.write_log(blog.web.id, "one")
    line = blog.engine.write_log(blog.web.id, "two", "stderr")
    reader = flatrun_login(blog.app, ["deployments:read"], {"blog": Level.READ})
    answer = reader.get(f"{URL}?follow=true&tail=1", buffered=False)
    assert answer.status_code == 200
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert events(answer, 1) == [
        (
            "log",
            {
                "service": "web",
                "container": blog.web.name,
                "timestamp": line.timestamp,
                "stream": "stderr",
                "line": "two",
            },
        )
    ]


def test_a_stream_goes_on_with_new_lines_of_its_service_and_leaves_nothing(blog: Any) -> None:
    blog.engine.write_log(blog.web.id, "one")
    answer = blog.client.get(f"{URL}?follow=1&service=web", buffered=False)
    blog.engine.write_log(blog.db.id, "not this")
    blog.engine.write_log(blog.web.id, "two")
    assert [data["line"] for _, data in events(answer, 2)] == ["one", "two"]
    panel = blog.app.extensions["flatrun"]
    assert panel.services.get(LOGS).hub.idle
    assert panel.streams.active == 0


def test_a_deployment_that_is_deleted_ends_its_streams(blog: Any) -> None:
    answer = blog.client.get(f"{URL}?follow=1", buffered=False)
    assert blog.client.delete("/api/deployments/blog").status_code == 200
    assert events(answer, 1) == [("end", {"reason": "deleted"})]


def test_docker_going_ends_a_stream_with_an_error_event(blog: Any) -> None:
    answer = blog.client.get(f"{URL}?follow=1", buffered=False)
    blog.engine.down = True
    ((event, data),) = events(answer, 1)
    assert event == "error"
    assert data["code"] == "DOCKER_UNAVAILABLE"


def test_statistics_have_exactly_the_contracts_keys(blog: Any) -> None:
    usage = {
        "cpu_stats": {"cpu_usage": {"total_usage": 20}, "system_cpu_usage": 300, "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 10}, "system_cpu_usage": 200},
        "memory_stats": {"usage": 1 << 20, "limit": 4 << 20},
        "pids_stats": {"current": 5},
        "networks": {"eth0": {"rx_bytes": 1024, "tx_bytes": 2048}},
    }
    for container in (blog.web, blog.db):
        blog.engine.statistics[container.id] = usage
    body = blog.client.get(STATS).get_json()
    assert body == {
        "deployment": "blog",
        "services": [
            {
                "container_id": container.id[:12],
                "name": container.name,
                "service": service,
                "cpu_percent": 20.0,
                "memory_usage": 1 << 20,
                "memory_limit": 4 << 20,
                "memory_percent": 25.0,
                "network_rx": 1024,
                "network_tx": 2048,
                "block_read": 0,
                "block_write": 0,
                "pids": 5,
            }
            for service, container in (("db", blog.db), ("web", blog.web))
        ],
        "summary": {
            "cpu_percent": 40.0,
            "memory_percent": 25.0,
            "memory_usage": 2 << 20,
            "memory_limit": 8 << 20,
        },
    }
    assert set(body) == set(DeploymentStats().fields)
    assert set(body["services"][0]) == set(UsageItem().fields)
    assert set(body["summary"]) == set(UsageSum().fields)


def test_nothing_running_uses_nothing(bench: Any) -> None:
    bench.create(compose=COMPOSE)
    assert bench.client.get(STATS).get_json() == {
        "deployment": "blog",
        "services": [],
        "summary": {"cpu_percent": 0.0, "memory_percent": 0.0, "memory_usage": 0, "memory_limit": 0},
    }


def test_a_refusal_of_the_engine_for_one_container_leaves_it_out(blog: Any) -> None:
    blog.engine.fail_next("stats", Failed("no", code="DOCKER_ERROR"))
    assert blog.client.get(STATS).get_json()["services"] == []
