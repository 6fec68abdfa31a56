"""Creations at the same time: of one name or one port one wins."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"


def test_of_two_creations_of_one_name_one_wins(bench: Any) -> None:
    barrier = threading.Barrier(8)

    def attempt(number: int) -> int:
        client = bench.client
        barrier.wait(10)
        body = {"name": "blog", "compose": f"{COMPOSE}# {number}\n"}
        answer = client.post("/api/deployments", json=body)
        assert answer.status_code == 201 or answer.get_json()["code"] == "DEPLOYMENT_EXISTS"
        return int(answer.status_code)

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(attempt, range(8)))
    assert statuses == [201] + [409] * 7
    assert bench.names() == ["blog"]


def test_a_name_under_creation_is_taken_and_not_listed(bench: Any) -> None:
    seen: list[Any] = []

    def look(_: Any) -> None:
        seen.append(bench.client.get("/api/deployments").get_json())
        seen.append(bench.client.get("/api/deployments/blog").status_code)
        with ThreadPoolExecutor() as pool:
            seen.append(pool.submit(bench.refused, 409, "DEPLOYMENT_EXISTS").result())

    bench.neighbours["neighbour"].on_create = look
    bench.create()
    assert seen[:2] == [[], 404]
    assert "blog" in seen[2]


def test_two_creations_at_once_cannot_have_one_port(bench: Any, free_port: int) -> None:
    arrived, go = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        arrived.set()
        go.wait(10)

    bench.neighbours["neighbour"].on_create = wait
    with ThreadPoolExecutor() as pool:
        first = pool.submit(bench.create, name="one", port=free_port)
        assert arrived.wait(10)
        bench.refused(409, "PORT_IN_USE", name="two", port=free_port)
        go.set()
        assert first.result()["name"] == "one"
