"""Statistics of a deployment: control groups in a tree, containers on an Engine in memory."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flatrun_core import DockerUnavailable, NotFound
from flatrun_core.ports.docker import NUMBER_LABEL, PROJECT_LABEL, SERVICE_LABEL
from flatrun_core.testing.fake_docker import FakeContainer, FakeEngine
from flatrun_deployments.cgroups import CgroupReader, Counters
from flatrun_deployments.statistics import Samples, StatisticsService, UsageSummary, cpu_percent

HOST = 8 << 30
SECOND = 1_000_000_000


class Host:
    """An Engine in memory with control groups in files."""

    def __init__(self, root: Path, engine: FakeEngine) -> None:
        self.root = root
        self.engine = engine
        self.pauses: list[float] = []
        (root / "cgroup").mkdir()
        (root / "cgroup/cgroup.controllers").write_text("")
        reader = CgroupReader(root / "cgroup", root / "proc")
        self.during_pause: Callable[[], None] = lambda: None
        self.service = StatisticsService(engine, lambda: self, reader, self.pause)  # type: ignore[arg-type,return-value]

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.during_pause()

    def get(self, name: str) -> Any:
        if name != "blog":
            raise NotFound("Deployment not found", code="DEPLOYMENT_NOT_FOUND")
        return SimpleNamespace(project="blog")

    def add(self, name: str, *, service: str = "web", group: bool = True, **more: Any) -> FakeContainer:
        labels = {PROJECT_LABEL: "blog", SERVICE_LABEL: service, NUMBER_LABEL: str(more.pop("number", 1))}
        memory, limit, pid = more.pop("memory", 1000), more.pop("limit", "max"), more.pop("pid", 7)
        made = self.engine.add(name, labels=labels, **more)
        if group:
            self.write(made, "memory.current", memory)
            self.write(made, "memory.max", limit)
            self.write(made, "memory.stat", "inactive_file 0")
            self.write(made, "pids.current", 2)
            self.write(made, "cgroup.procs", pid)
            self.use(made, 1_000_000)
            network = self.root / f"proc/{pid}/net"
            network.mkdir(parents=True, exist_ok=True)
            (network / "dev").write_text("eth0: 10 0 0 0 0 0 0 0 20 0 0 0 0 0 0 0\n")
        return made

    def folder(self, container: FakeContainer) -> Path:
        return self.root / f"cgroup/system.slice/docker-{container.id}.scope"

    def write(self, container: FakeContainer, name: str, value: object) -> None:
        self.folder(container).mkdir(parents=True, exist_ok=True)
        (self.folder(container) / name).write_text(f"{value}\n")

    def use(self, container: FakeContainer, microseconds: int) -> None:
        self.write(container, "cpu.stat", f"usage_usec {microseconds}")


@pytest.fixture
def host(tmp_path: Path, fake_engine: FakeEngine) -> Host:
    return Host(tmp_path, fake_engine)


def test_a_running_container_is_counted(host: Host) -> None:
    made = host.add("blog-web-1", memory=1 << 20, limit=4 << 20)
    found = host.service.of("blog")
    assert found.deployment == "blog"
    (usage,) = found.services
    assert (usage.container_id, usage.name, usage.service) == (made.id[:12], "blog-web-1", "web")
    assert (usage.memory_usage, usage.memory_limit, usage.memory_percent) == (1 << 20, 4 << 20, 25.0)
    assert (usage.network_rx, usage.network_tx, usage.pids) == (10, 20, 2)
    assert found.summary == UsageSummary(usage.cpu_percent, 25.0, 1 << 20, 4 << 20)


def test_the_hosts_memory_counts_once_for_containers_without_a_limit(host: Host) -> None:
    for number, limit in enumerate(("max", "max", 1 << 30, 16 << 30)):
        host.add(f"blog-web-{number}", limit=limit, memory=1 << 30, number=number)
    found = host.service.of("blog")
    assert [usage.memory_limit for usage in found.services] == [HOST, HOST, 1 << 30, HOST]
    assert found.summary.memory_limit == HOST + (1 << 30)
    assert found.summary.memory_usage == 4 << 30
    assert found.summary.memory_percent == 44.44


def test_containers_come_by_service_and_replica(host: Host) -> None:
    for service, number in (("web", 10), ("web", 2), ("db", 1)):
        host.add(f"{service}-{number}", service=service, number=number)
    assert [usage.name for usage in host.service.of("blog").services] == ["db-1", "web-2", "web-10"]


def test_what_does_not_run_or_is_another_deployments_is_left_out(host: Host) -> None:
    host.add("stopped", state="exited")
    host.engine.add("other", labels={PROJECT_LABEL: "other"})
    found = host.service.of("blog")
    assert (found.services, found.summary) == ([], UsageSummary())


def test_a_paused_container_still_has_its_memory(host: Host) -> None:
    host.add("blog-web-1", state="paused")
    assert len(host.service.of("blog").services) == 1


def test_docker_down_is_an_error_and_no_empty_answer(host: Host) -> None:
    host.engine.down = True
    with pytest.raises(DockerUnavailable):
        host.service.of("blog")


def test_an_unknown_deployment_is_not_found(host: Host) -> None:
    with pytest.raises(NotFound):
        host.service.of("nobody")


def test_the_first_time_everything_is_looked_at_twice_after_one_pause(host: Host) -> None:
    made = [host.add(f"blog-web-{number}", number=number) for number in range(10)]

    def work() -> None:
        for container in made:
            host.use(container, 1_000_000 + 30_000)

    host.during_pause = work
    found = host.service.of("blog")
    assert host.pauses == [0.1]
    assert all(usage.cpu_percent > 0 for usage in found.services)
    assert found.summary.cpu_percent == pytest.approx(sum(u.cpu_percent for u in found.services), abs=0.1)


def test_a_second_request_needs_no_pause(host: Host) -> None:
    made = host.add("blog-web-1")
    host.service.of("blog")
    time.sleep(0.21)
    host.use(made, 1_000_000 + 100_000)
    found = host.service.of("blog")
    assert len(host.pauses) == 1
    assert 0 < found.summary.cpu_percent < 100 / 0.21 * 0.1


def test_requests_right_after_one_another_tell_the_same(host: Host) -> None:
    host.add("blog-web-1")
    first = host.service.of("blog").summary.cpu_percent
    assert host.service.of("blog").summary.cpu_percent == first
    assert len(host.pauses) == 1


def test_a_container_that_was_made_anew_begins_anew(host: Host) -> None:
    made = host.add("blog-web-1")
    host.service.of("blog")
    for path in host.folder(made).iterdir():
        path.unlink()
    host.folder(made).rename(host.folder(made).with_name("old"))
    host.add("blog-web-2")
    host.write(made, "memory.current", 1)
    host.write(made, "cgroup.procs", 7)
    host.use(made, 2_000_000)
    host.service.of("blog")
    assert len(host.pauses) == 2


def test_nothing_is_remembered_of_containers_that_are_gone(host: Host) -> None:
    made = host.add("blog-web-1")
    host.service.of("blog")
    assert len(host.service._samples) == 1
    host.engine.destroy(made.id)
    host.service.of("blog")
    assert len(host.service._samples) == 0


def test_the_host_network_is_not_counted_as_the_containers(host: Host) -> None:
    host.add("blog-web-1", networks={"host": ()})
    assert host.service.of("blog").services[0].network_rx == 0


def test_where_no_file_can_be_read_the_engine_is_asked_for_all_at_once(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [host.add(f"blog-web-{number}", group=False, number=number) for number in range(8)]
    together = threading.Barrier(8, timeout=5)

    def stats(container_id: str) -> dict[str, Any]:
        together.wait()
        return {
            "cpu_stats": {"cpu_usage": {"total_usage": 20}, "system_cpu_usage": 300, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 10}, "system_cpu_usage": 200},
            "memory_stats": {"usage": 100, "limit": HOST},
        }

    monkeypatch.setattr(host.engine, "stats", stats)
    found = host.service.of("blog")
    assert [usage.cpu_percent for usage in found.services] == [20.0] * len(made)
    assert found.summary.memory_limit == HOST


def test_files_and_engine_go_together(host: Host) -> None:
    host.add("blog-db-1", service="db", memory=5)
    other = host.add("blog-web-1", group=False)
    host.engine.statistics[other.id] = {
        "cpu_stats": {"cpu_usage": {"total_usage": 20}},
        "memory_stats": {"usage": 7},
    }
    assert [usage.memory_usage for usage in host.service.of("blog").services] == [5, 7]


def test_a_container_that_ends_meanwhile_is_left_out(host: Host) -> None:
    host.add("blog-db-1", service="db")
    host.add("blog-web-1", group=False)
    assert [usage.name for usage in host.service.of("blog").services] == ["blog-db-1"]


def test_docker_gone_while_it_is_asked_is_an_error(host: Host) -> None:
    host.add("blog-web-1", group=False)
    host.engine.fail_next("stats", DockerUnavailable("gone"))
    with pytest.raises(DockerUnavailable):
        host.service.of("blog")


def counters(at: int, cpu: int, generation: int = 1) -> Counters:
    return Counters(at, cpu, 0, None, 0, 0, 0, 0, 0, generation)


def test_the_use_of_the_processor_is_told_between_two_looks() -> None:
    assert cpu_percent(counters(0, 0), counters(SECOND, SECOND // 2)) == 50.0
    assert cpu_percent(counters(0, 0), counters(SECOND, 2 * SECOND)) == 200.0
    assert cpu_percent(counters(0, 5), counters(0, 9)) == 0.0
    assert cpu_percent(counters(0, 9), counters(SECOND, 5)) == 0.0


def test_a_sample_serves_from_a_fifth_of_a_second_to_a_minute() -> None:
    samples = Samples()
    samples.keep("a", counters(0, 0), 12.5)
    assert samples.percent("a", counters(SECOND // 10, 9)) == 12.5
    assert samples.percent("a", counters(SECOND, SECOND // 4)) == 25.0
    assert samples.percent("a", counters(60 * SECOND, 0)) == 0.0
    assert samples.percent("a", counters(61 * SECOND, 0)) is None
    assert samples.percent("b", counters(SECOND, 0)) is None


def test_a_sample_of_other_counters_does_not_serve() -> None:
    samples = Samples()
    samples.keep("a", counters(0, 100), 1.0)
    assert samples.percent("a", counters(SECOND, 200, generation=2)) is None
    assert samples.percent("a", counters(SECOND, 50)) is None


def test_many_callers_do_not_keep_one_another_from_a_useful_sample() -> None:
    samples = Samples()
    samples.keep("a", counters(0, 0), 1.0)
    samples.keep("a", counters(SECOND // 10, 0), 2.0)
    assert samples.percent("a", counters(SECOND // 10 * 3, SECOND // 10 * 3)) == 100.0
