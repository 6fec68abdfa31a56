"""A hundred followers of one log: delay of each line, other requests meanwhile, memory."""

import re
import select
import socket
import statistics
import subprocess
import threading
import time

from lib.report import Row
from lib.stage import Stage, request, resident
from lib.timing import ran

COMPOSE = """\
services:
  web:
    image: {image}
    init: true
    command: [sh, -c, 'i=0; while true; do i=$$((i+1)); echo "line $$i at $$(date +%s)"; sleep 0.5; done']
"""
LINE = re.compile(rb'"line":"line (\d+) ')


def run(stage: Stage) -> list[Row]:
    """Followers read in one thread by poll; delay is the last follower's behind the first's."""
    count, length = (20, 4.0) if stage.quick else (100, 15.0)
    name = f"{stage.prefix}-log"
    folder = stage.folder(name, COMPOSE.format(image=stage.image))
    ran("docker", "compose", "--project-directory", str(folder), "up", "-d")
    stage.serve()
    for _ in range(20):
        stage.call("GET", "/api/deployments")
        stage.call("GET", f"/api/deployments/{name}/logs")
    before = stage.rss()
    crowd = Crowd(stage, name, count)
    crowd.start()
    crowd.wait_until_all_follow()
    others = requests_for(stage, length)
    grown = stage.rss() - before
    seen = crowd.stop()
    late, missed = delays(seen, count)
    by_hand = compose_memory(str(folder))
    return [
        Row(
            f"{count} followers, slowest line", late * 1000, "ms", 1000, "low", "behind the first that has it"
        ),
        Row(f"{count} followers, lines not received", missed, "", 0, "low"),
        Row("other requests meanwhile, p99", others * 1000, "ms", 100, "low"),
        Row(
            "memory a follower",
            grown / count / 1e6,
            "MB",
            1,
            "low",
            f"docker compose logs -f: {by_hand / 1e6:.0f} MB",
        ),
    ]


class Crowd(threading.Thread):
    """Followers on raw sockets; when each line reached each of them."""

    def __init__(self, stage: Stage, name: str, count: int) -> None:
        super().__init__(daemon=True)
        query = f"/api/deployments/{name}/logs?follow=true&tail=1"
        head = f"GET {query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stage.key}\r\n\r\n".encode()
        self.sockets = []
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", stage.port))
            one.sendall(head)
            one.setblocking(False)
            self.sockets.append(one)
        self.seen: list[dict[int, float]] = [{} for _ in self.sockets]
        self._ending = threading.Event()

    def run(self) -> None:
        poll = select.poll()
        index = {}
        for number, one in enumerate(self.sockets):
            poll.register(one, select.POLLIN)
            index[one.fileno()] = number
        while not self._ending.is_set():
            for descriptor, _ in poll.poll(100):
                number = index[descriptor]
                data = self.sockets[number].recv(65536)
                now = time.perf_counter()
                for found in LINE.findall(data):
                    self.seen[number].setdefault(int(found), now)

    def wait_until_all_follow(self) -> None:
        """Until each has seen two lines, so that what follows is the steady state."""
        until = time.perf_counter() + 30
        while min(map(len, self.seen)) < 2:
            if time.perf_counter() > until:
                raise TimeoutError("some followers get no lines")
            time.sleep(0.05)

    def stop(self) -> list[dict[int, float]]:
        """End; what was seen."""
        self._ending.set()
        self.join()
        for one in self.sockets:
            one.close()
        return self.seen


def delays(seen: list[dict[int, float]], count: int) -> tuple[float, int]:
    """How far the slowest follower is behind the first, and lines that somebody in the middle missed."""
    numbers = sorted(set().union(*seen))
    begin = max(min(one, default=0) for one in seen)
    middle = [number for number in numbers if begin <= number < numbers[-1] - 1]
    missed = sum(number not in one for number in middle for one in seen)
    spread = [
        max(one[number] for one in seen) - min(one[number] for one in seen)
        for number in middle
        if all(number in one for one in seen)
    ]
    assert len(seen) == count
    assert middle, "no line reached every follower"
    return max(spread, default=9.9), missed


def requests_for(stage: Stage, length: float) -> float:
    """The slowest but one percent of ordinary requests meanwhile."""
    connection = stage.connection()
    until, taken = time.perf_counter() + length, []
    while time.perf_counter() < until:
        begun = time.perf_counter()
        status, _ = request(connection, stage.key, "GET", "/api/deployments")
        taken.append(time.perf_counter() - begun)
        assert status == 200
        time.sleep(0.02)
    connection.close()
    return statistics.quantiles(taken, n=100)[98]


def compose_memory(folder: str) -> int:
    """Resident bytes of one `docker compose logs -f`, with its plugin process."""
    command = ["docker", "compose", "--project-directory", folder, "logs", "-f", "--tail", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            for _ in range(3):  # the first line shows what was there, the next ones that it follows
                process.stdout.readline()
            with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
                pids = [process.pid, *map(int, children.read().split())]
            return sum(resident(pid) for pid in pids)
        finally:
            process.terminate()
