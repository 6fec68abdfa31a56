"""What the Engine lists, and the list that is kept between its events."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.docker.containers import KeptContainers, find, parse, published
from flatrun_core.errors import DockerUnavailable, Invalid, NotFound
from flatrun_core.ports.docker import Container

CREATED = 1704067200


def entry(**more: Any) -> dict[str, Any]:
    return {"Id": "a" * 64, "Names": ["/web"], "Image": "i", "State": "running", "Created": CREATED, **more}


class TestParse:
    @pytest.mark.parametrize(
        ("status", "health"),
        [
            ("Up 2 hours", "none"),
            ("Up 2 hours (healthy)", "healthy"),
            ("Up 2 hours (unhealthy)", "unhealthy"),
            ("Up Less than a second (health: starting)", "starting"),
            ("Up 2 hours (Paused)", "none"),
            ("Exited (0) 2 days ago", "none"),
            ("", "none"),
        ],
    )
    def test_health_is_read_from_the_status(self, status: str, health: str) -> None:
        assert parse(entry(Status=status)).health == health

    def test_health_of_newer_engines_comes_first(self) -> None:
        assert parse(entry(Status="Up", Health={"Status": "healthy", "FailingStreak": 0})).health == "healthy"

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            ("Exited (137) 2 minutes ago", 137),
            ("Exited (-1) 2 minutes ago", -1),
            ("Restarting (1) 3 seconds ago", None),
            ("Up 4 minutes", None),
            ("Dead", None),
        ],
    )
    def test_exit_code_is_read_from_the_status(self, status: str, code: int | None) -> None:
        assert parse(entry(State="exited", Status=status)).exit_code == code

    def test_creation_is_an_aware_time(self) -> None:
        assert parse(entry()).created == datetime(2024, 1, 1, tzinfo=UTC)

    def test_own_name_comes_before_the_names_of_links(self) -> None:
        assert parse(entry(Names=["/other/db", "/db"])).name == "db"

    def test_a_container_being_removed_may_have_no_name_and_no_networks(self) -> None:
        container = parse(entry(Names=None, NetworkSettings=None, Ports=None, Labels=None, Status=None))
        assert (container.name, container.networks, container.ports, container.labels) == (
            "a" * 12,
            (),
            (),
            {},
        )

    def test_ports_are_in_dockers_notation(self) -> None:
        ports = [
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"},
            {"IP": "127.0.0.1", "PrivatePort": 53, "PublicPort": 5353, "Type": "udp"},
            {"IP": "::1", "PrivatePort": 53, "PublicPort": 5353, "Type": "udp"},
            {"PrivatePort": 90, "PublicPort": 9090, "Type": "sctp"},
        ]
        assert published(ports) == (
            "127.0.0.1:5353->53/udp",
            "[::1]:5353->53/udp",
            "0.0.0.0:8080->80/tcp",
            "[::]:8080->80/tcp",
            "9090->90/sctp",
        )

    @given(st.text(), st.text())
    def test_any_status_is_understood(self, status: str, state: str) -> None:
        parse(entry(Status=status, State=state))


def listed(*refs: tuple[str, str]) -> list[Container]:
    return [parse(entry(Id=id_.ljust(64, "0"), Names=[f"/{name}"])) for id_, name in refs]


class TestFind:
    def test_a_name_comes_before_a_short_id(self) -> None:
        containers = listed(("abcd1", "one"), ("ffff1", "abcd"))
        assert find(containers, "abcd").name == "abcd"
        assert find(containers, "abcd1").name == "one"

    def test_a_short_id_of_two_is_refused(self) -> None:
        with pytest.raises(Invalid, match="More than one"):
            find(listed(("abcd1", "one"), ("abcd2", "two")), "abcd")

    @pytest.mark.parametrize("ref", ["abc", "ABCD1", "abcg", "on"])
    def test_less_than_four_hexadecimal_digits_are_no_short_id(self, ref: str) -> None:
        with pytest.raises(NotFound):
            find(listed(("abcd1", "one")), ref)


class Asked:
    """The Engine's side: each query waits until the test lets it go."""

    def __init__(self) -> None:
        self.count = 0
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.hold = False
        self.state = "one"
        self.error: Exception | None = None

    def __call__(self) -> list[Container]:
        self.count += 1
        answer = listed(("abcd", self.state))
        self.begun.release()
        if self.hold:
            assert self.gate.acquire(timeout=5)
        if self.error is not None:
            raise self.error
        return answer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestKept:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def asked(self) -> Asked:
        return Asked()

    @pytest.fixture
    def kept(self, asked: Asked, clock: Clock) -> KeptContainers:
        kept = KeptContainers(asked, clock)
        kept.set_live(True)
        clock.now += 100
        return kept

    def test_one_query_answers_many_calls(self, kept: KeptContainers, asked: Asked) -> None:
        for _ in range(5):
            assert kept.get(60)[0].name == "one"
        assert asked.count == 1

    def test_the_answer_gets_old(self, kept: KeptContainers, asked: Asked, clock: Clock) -> None:
        kept.get(60)
        clock.now += 59
        kept.get(60)
        assert asked.count == 1
        kept.get(10)
        assert asked.count == 2
        clock.now += 60
        kept.get(60)
        assert asked.count == 3

    def test_nothing_is_young_enough_for_age_zero(self, kept: KeptContainers, asked: Asked) -> None:
        kept.get(0)
        kept.get(0)
        assert asked.count == 2

    def test_a_change_drops_it(self, kept: KeptContainers, asked: Asked) -> None:
        kept.get(60)
        asked.state = "two"
        kept.touch()
        assert kept.get(60)[0].name == "two"

    def test_after_a_change_it_is_asked_at_ever_longer_distances(
        self, kept: KeptContainers, asked: Asked, clock: Clock
    ) -> None:
        kept.touch()
        times = []
        for _ in range(1000):
            clock.now += 0.01
            before = asked.count
            kept.get(60)
            times += [clock.now] if asked.count > before else []
        assert len(times) < 12
        assert times[1] - times[0] < 0.03
        assert times[-1] - times[-2] > 2

    def test_without_events_every_call_asks(self, kept: KeptContainers, asked: Asked) -> None:
        kept.get(60)
        kept.set_live(False)
        kept.get(60)
        kept.get(60)
        assert asked.count == 3

    def test_events_that_come_back_drop_it(self, kept: KeptContainers, asked: Asked) -> None:
        kept.get(60)
        kept.set_live(False)
        kept.set_live(True)
        kept.get(60)
        assert asked.count == 2

    def test_a_failure_is_not_kept(self, kept: KeptContainers, asked: Asked) -> None:
        asked.error = DockerUnavailable("down")
        for _ in range(2):
            with pytest.raises(DockerUnavailable):
                kept.get(60)
        asked.error = None
        assert kept.get(60)

    def test_callers_at_the_same_time_share_one_query(self, kept: KeptContainers, asked: Asked) -> None:
        asked.hold = True
        with ThreadPoolExecutor(10) as pool:
            calls = [pool.submit(kept.get, 60) for _ in range(10)]
            assert asked.begun.acquire(timeout=5)
            asked.gate.release(10)
            assert {call.result(5)[0].name for call in calls} == {"one"}
        assert asked.count == 1

    def test_a_failure_reaches_all_who_share_it(self, kept: KeptContainers, asked: Asked) -> None:
        asked.hold, asked.error = True, DockerUnavailable("down")
        with ThreadPoolExecutor(5) as pool:
            calls = [pool.submit(kept.get, 60) for _ in range(5)]
            assert asked.begun.acquire(timeout=5)
            asked.gate.release(10)
            assert all(isinstance(call.exception(5), DockerUnavailable) for call in calls)

    @pytest.mark.parametrize("change", ["touch", "lost"])
    def test_what_happens_during_a_query_is_not_lost(
        self, kept: KeptContainers, asked: Asked, clock: Clock, change: str
    ) -> None:
        asked.hold = True
        with ThreadPoolExecutor(2) as pool:
            early = pool.submit(kept.get, 60)
            assert asked.begun.acquire(timeout=5)
            asked.state = "two"
            kept.touch() if change == "touch" else kept.set_live(False)
            late = pool.submit(kept.get, 60)
            asked.gate.release(2)
            assert early.result(5)[0].name == "one"
            assert late.result(5)[0].name == "two"
        asked.hold = False
        clock.now += 1
        assert kept.get(60)[0].name == "two"

    def test_without_events_nobody_gets_an_answer_older_than_the_question(
        self, kept: KeptContainers, asked: Asked
    ) -> None:
        kept.set_live(False)
        asked.hold = True
        with ThreadPoolExecutor(4) as pool:
            early = pool.submit(kept.get, 60)
            assert asked.begun.acquire(timeout=5)
            asked.state = "two"
            late = [pool.submit(kept.get, 60) for _ in range(3)]
            wait_for(lambda: kept._next is not None)
            asked.gate.release(2)
            assert early.result(5)[0].name == "one"
            assert {call.result(5)[0].name for call in late} == {"two"}
        assert asked.count in (2, 3)

    def test_nobody_waits_for_two_queries_that_hang(
        self, kept: KeptContainers, asked: Asked, clock: Clock
    ) -> None:
        asked.hold, asked.error = True, DockerUnavailable("did not answer")
        with ThreadPoolExecutor(2) as pool:
            early = pool.submit(kept.get, 0)
            assert asked.begun.acquire(timeout=5)
            late = pool.submit(kept.get, 0)
            wait_for(lambda: kept._next is not None)
            clock.now += 5
            asked.gate.release()
            for call in (early, late):
                assert isinstance(call.exception(5), DockerUnavailable)
        assert asked.count == 1
        asked.hold, asked.error = False, None
        assert kept.get(0)


def wait_for(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(500):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("waited in vain")
