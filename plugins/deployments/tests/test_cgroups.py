"""Control groups of both versions, in trees as the kernel shows them."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_deployments.cgroups import (
    CgroupReader,
    engine_counters,
    parse_block_v1,
    parse_block_v2,
    parse_devices,
    parse_fields,
    parse_limit,
    parse_membership,
    parse_number,
)

ID = "3f1c9d0a77b2" + "0" * 52
DEVICES = """Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo:     999       9    0    0    0     0     0     0      999       9    0    0    0     0  0  0
  eth0:    1042      11    0    0    0     0     0     0     2000       3    0    0    0     0  0  0
  eth1:8       11    0    0    0     0     0     0     1       3    0    0    0     0  0     0
"""


class Tree:
    """A place for control groups and processes."""

    def __init__(self, root: Path) -> None:
        self.cgroup, self.proc = root / "cgroup", root / "proc"
        self.cgroup.mkdir()
        self.reader = CgroupReader(self.cgroup, self.proc)

    def file(self, path: str, text: str) -> None:
        target = self.cgroup / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def process(self, pid: int, membership: str = "") -> None:
        folder = self.proc / str(pid)
        (folder / "net").mkdir(parents=True)
        (folder / "net" / "dev").write_text(DEVICES)
        (folder / "cgroup").write_text(membership)

    def v1(self, place: str = f"docker/{ID}") -> None:
        self.file(f"cpuacct/{place}/cpuacct.usage", "34694369\n")
        self.file(f"cpuacct/{place}/cgroup.procs", "12\n15\n")
        self.file(f"memory/{place}/memory.usage_in_bytes", "3567616\n")
        self.file(f"memory/{place}/memory.limit_in_bytes", "9223372036854771712\n")
        self.file(f"memory/{place}/memory.stat", "cache 9\ninactive_file 1\ntotal_inactive_file 1036288\n")
        self.file(f"pids/{place}/pids.current", "3\n")
        self.file(
            f"blkio/{place}/blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 100\n8:0 Write 20\n8:0 Total 120\n8:16 Read 1\n8:16 Write 2\n8:16 Total 3\nTotal 123\n",
        )

    def v2(self, place: str = f"system.slice/docker-{ID}.scope") -> None:
        self.file("cgroup.controllers", "cpu io memory pids\n")
        self.file(f"{place}/cpu.stat", "usage_usec 34694\nuser_usec 1\nsystem_usec 2\n")
        self.file(f"{place}/cgroup.procs", "12\n15\n")
        self.file(f"{place}/memory.current", "3567616\n")
        self.file(f"{place}/memory.max", "67108864\n")
        self.file(f"{place}/memory.stat", "anon 9\ninactive_file 1036288\n")
        self.file(f"{place}/pids.current", "3\n")
        self.file(
            f"{place}/io.stat",
            "8:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=7 dios=0\n8:16 rbytes=1 wbytes=2\n",
        )


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def no_process() -> int:
    raise AssertionError("the process number was asked for")


@pytest.mark.parametrize("place", [f"docker/{ID}", f"system.slice/docker-{ID}.scope"])
@pytest.mark.parametrize("version", [1, 2])
def test_both_drivers_places_are_read_in_both_versions(tree: Tree, place: str, version: int) -> None:
    (tree.v1 if version == 1 else tree.v2)(place)
    tree.process(12)
    group = tree.reader.locate(ID, no_process)
    assert group is not None
    found = tree.reader.read(group, network=True)
    assert found.cpu == (34694369 if version == 1 else 34694000)
    assert found.memory == 3567616 - 1036288
    assert found.limit == (None if version == 1 else 67108864)
    assert found.pids == 3
    assert (found.block_read, found.block_write) == (101, 22)
    assert (found.network_rx, found.network_tx) == (1050, 2001)


def test_the_hosts_network_is_not_counted(tree: Tree) -> None:
    tree.v1()
    group = tree.reader.locate(ID, no_process)
    assert group is not None
    found = tree.reader.read(group, network=False)
    assert (found.network_rx, found.network_tx) == (0, 0)


@pytest.mark.parametrize(
    ("version", "membership"),
    [
        (
            1,
            f"9:name=systemd:/my/{ID}\n4:memory:/my/{ID}\n2:cpu,cpuacct:/my/{ID}\n1:pids,blkio:/my/{ID}\n0::/my/{ID}\n",
        ),
        (2, f"0::/my/{ID}\n"),
    ],
)
def test_a_group_elsewhere_is_found_by_the_containers_process(
    tree: Tree, version: int, membership: str
) -> None:
    (tree.v1 if version == 1 else tree.v2)(f"my/{ID}")
    tree.process(12, membership.format(f"/my/{ID}"))
    group = tree.reader.locate(ID, lambda: 12)
    assert group is not None
    assert tree.reader.read(group, network=True).pids == 3


@pytest.mark.parametrize(
    "membership",
    [
        "",
        "0::/\n",
        "0::/docker/" + "f" * 64 + "\n",
        f"0::/../../docker/{ID}\n",
        f"0::/gone/{ID}\n",
        "nonsense\n::\n",
    ],
)
def test_a_process_that_is_not_the_containers_leads_nowhere(tree: Tree, membership: str) -> None:
    tree.file("cgroup.controllers", "")
    tree.process(12, membership)
    assert tree.reader.locate(ID, lambda: 12) is None


def test_a_process_that_cannot_be_seen_is_an_os_error(tree: Tree) -> None:
    with pytest.raises(OSError, match="cgroup"):
        tree.reader.locate(ID, lambda: 4242)


def test_controllers_that_are_switched_off_count_nothing(tree: Tree) -> None:
    tree.file(f"cpuacct/docker/{ID}/cpuacct.usage", "7\n")
    tree.file(f"cpuacct/docker/{ID}/cgroup.procs", "12\n15\n")
    group = tree.reader.locate(ID, no_process)
    assert group is not None
    found = tree.reader.read(group, network=False)
    assert (found.memory, found.limit, found.block_read, found.pids) == (0, None, 0, 2)


def test_processes_further_down_are_found(tree: Tree) -> None:
    tree.v2()
    place = f"system.slice/docker-{ID}.scope"
    tree.file(f"{place}/cgroup.procs", "")
    tree.file(f"{place}/init.scope/cgroup.procs", "77\n")
    tree.process(77)
    group = tree.reader.locate(ID, no_process)
    assert group is not None
    assert tree.reader.read(group, network=True).network_rx == 1050


def test_a_container_that_has_ended_is_an_error(tree: Tree) -> None:
    tree.v1()
    tree.file(f"cpuacct/docker/{ID}/cgroup.procs", "")
    group = tree.reader.locate(ID, no_process)
    assert group is not None
    with pytest.raises(ValueError, match="process"):
        tree.reader.read(group, network=True)


@given(st.text())
def test_no_text_breaks_a_parser(text: str) -> None:
    for parse in (parse_block_v1, parse_block_v2, parse_devices, parse_fields, parse_membership, parse_limit):
        parse(text)
    with contextlib.suppress(ValueError):
        assert parse_number(text) >= 0


big = st.integers(0, 2**63 - 1)
devices = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}[0-9.]{0,4}", fullmatch=True), st.tuples(big, big), max_size=5
)


@given(st.lists(st.tuples(big, big), max_size=6))
def test_block_devices_are_summed(counts: list[tuple[int, int]]) -> None:
    v1 = "".join(f"8:{n} Read {r}\n8:{n} Write {w}\n8:{n} Total {r + w}\n" for n, (r, w) in enumerate(counts))
    v2 = "".join(f"8:{n} rbytes={r} wbytes={w} dbytes=5\n" for n, (r, w) in enumerate(counts))
    expected = (sum(r for r, _ in counts), sum(w for _, w in counts))
    assert parse_block_v1(v1 + "Total 9\n") == expected
    assert parse_block_v2(v2) == expected


@given(devices)
def test_network_devices_are_summed_without_the_loopback(found: dict[str, tuple[int, int]]) -> None:
    text = "".join(f"{name}:{r} 1 0 0 0 0 0 0 {s} 1 0 0 0 0 0 0\n" for name, (r, s) in found.items())
    rest = {name: counts for name, counts in found.items() if name != "lo"}
    expected = (sum(r for r, _ in rest.values()), sum(s for _, s in rest.values()))
    assert parse_devices("Inter-| x\n face |y\n" + text) == expected


@given(big)
def test_numbers_and_limits_are_read(number: int) -> None:
    assert parse_number(f"{number}\n") == number
    assert parse_limit(f"{number}\n") == (number if number < 1 << 60 else None)
    assert parse_limit("max\n") is None


def test_the_engines_document_is_read_as_dockers_own_tools_do() -> None:
    document = {
        "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
        "memory_stats": {"usage": 1000, "limit": 4000, "stats": {"inactive_file": 300}},
        "pids_stats": {"current": 3},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 8, "op": "Read", "value": 5},
                {"major": 8, "op": "write", "value": 6},
                {"major": 8, "op": "Total", "value": 11},
            ]
        },
        "networks": {"eth0": {"rx_bytes": 7, "tx_bytes": 8}, "eth1": {"rx_bytes": 1, "tx_bytes": 1}},
    }
    found, percent = engine_counters(document)
    assert percent == 40.0
    assert (found.memory, found.limit, found.pids) == (700, 4000, 3)
    assert (found.block_read, found.block_write, found.network_rx, found.network_tx) == (5, 6, 8, 9)


KEYS = [
    "cpu_stats",
    "precpu_stats",
    "memory_stats",
    "pids_stats",
    "networks",
    "blkio_stats",
    "cpu_usage",
    "total_usage",
    "usage",
    "limit",
    "stats",
    "system_cpu_usage",
    "current",
    "online_cpus",
    "value",
    "io_service_bytes_recursive",
    "op",
    "percpu_usage",
    "inactive_file",
]
keys = st.sampled_from(KEYS)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["Read", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(keys, json))
def test_no_document_of_an_engine_breaks_the_panel(document: dict[str, Any]) -> None:
    found, percent = engine_counters(document)
    assert found.memory >= 0
    assert percent >= 0
