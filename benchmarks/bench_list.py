"""GET /api/deployments against `docker compose ls` and a `docker compose ps` for each project."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from lib.report import Row
from lib.stage import Stage, request
from lib.timing import ran, seconds

REPEAT = 200
# Seconds after the last start: while containers come and go, the panel asks the Engine anew.
QUIET = 3


def run(stage: Stage) -> list[Row]:
    """Twenty deployments, then two hundred; ten clients at once at the end."""
    few, many = (5, 20) if stage.quick else (20, 200)
    names = [f"{stage.prefix}-{number:03}" for number in range(many)]
    stage.crowd(names[:few])
    stage.serve()
    small = p50(stage, few)
    stage.crowd(names[few:])
    large = p50(stage, many)
    by_hand = seconds(lambda: compose_by_hand(names))
    lost = ten_clients(stage, many)
    return [
        Row(f"list of {many} deployments, p50", large * 1000, "ms", 10, "low"),
        Row(
            "list, times faster",
            by_hand / large,
            "x",
            50,
            "high",
            f"compose ls + {many} x ps: {by_hand:.2f} s",
        ),
        Row(
            f"list, {few} to {many} deployments",
            large / small,
            "x",
            5,
            "low",
            f"{small * 1000:.2f} ms for {few}",
        ),
        Row("list, answers lost by ten clients", lost, "", 0, "low"),
    ]


def p50(stage: Stage, expected: int) -> float:
    """The median over one kept connection, with what is answered checked."""
    connection = stage.connection()
    settle(stage, expected)
    taken = []
    for _ in range(REPEAT):
        begun = time.perf_counter()
        status, listed = request(connection, stage.key, "GET", "/api/deployments")
        taken.append(time.perf_counter() - begun)
        assert status == 200
        assert len(listed) == expected
        assert all(item["status"] == "running" for item in listed)
    connection.close()
    return statistics.median(taken)


def settle(stage: Stage, expected: int) -> None:
    """Wait until every container just started shows as running, and the Engine has nothing more to say."""
    for _ in range(200):
        listed = stage.call("GET", "/api/deployments")[1]
        if len(listed) == expected and all(item["status"] == "running" for item in listed):
            time.sleep(QUIET)
            return
        time.sleep(0.05)
    raise RuntimeError(f"not every deployment runs: {[i for i in listed if i['status'] != 'running'][:3]}")


def compose_by_hand(names: list[str]) -> None:
    """What a user types to see the same."""
    listed = ran("docker", "compose", "ls", "--format", "json")
    assert all(name in listed for name in names)
    for name in names:
        ran("docker", "compose", "-p", name, "ps", "--all", "--format", "json")


def ten_clients(stage: Stage, expected: int) -> int:
    """How many of ten times fifty answers are not the whole list."""

    def client(_: int) -> int:
        connection = stage.connection()
        bad = 0
        for _ in range(50):
            status, listed = request(connection, stage.key, "GET", "/api/deployments")
            bad += status != 200 or len(listed) != expected
        connection.close()
        return bad

    with ThreadPoolExecutor(10) as pool:
        return sum(pool.map(client, range(10)))
