"""Templates on disk: what counts, what is refused, and what it costs to look."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import Invalid
from flatrun_templates import library
from flatrun_templates.sources import built_in

BUILT_IN = set(built_in())


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Count the folders that are really read."""
    read: list[str] = []
    real = library._read
    with monkeypatch.context() as patch:
        patch.setattr(library, "_read", lambda folder, name: read.append(name) or real(folder, name))
        yield read


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every file for one that has been there for a while."""
    monkeypatch.setattr(library, "_RACY_NANOSECONDS", 0)


def test_the_contracts_built_in_set_is_there(bench: Any) -> None:
    assert set(bench.listed()) == BUILT_IN == {
        "static", "wordpress", "ghost", "laravel", "nextjs", "astro", "node", "php", "nextcloud",
        "infra-nginx", "infra-mysql", "infra-mariadb", "infra-postgres", "infra-redis",
    }  # fmt: skip


def test_a_template_shows_and_goes_without_a_refresh(bench: Any) -> None:
    path = bench.write("mine", metadata="name: Mine\n")
    assert bench.listed()["mine"]["name"] == "Mine"
    (path / "docker-compose.yml").unlink()
    assert "mine" not in bench.listed()


def test_an_edit_by_hand_shows_at_once(bench: Any) -> None:
    for number in range(20):
        bench.write("mine", f"services: {{a: {{image: 'x:{number % 10}'}}}}\n", f"name: N{number % 10}\n")
        found = bench.listed()["mine"]
        assert (f"x:{number % 10}" in found["content"], found["name"]) == (True, f"N{number % 10}")


@pytest.mark.usefixtures("settled")
def test_an_edit_that_keeps_size_and_mtime_shows(bench: Any) -> None:
    path = bench.write("mine", metadata="name: One\n") / "metadata.yml"
    bench.listed()
    stat = path.stat()
    path.write_text("name: Two\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert bench.listed()["mine"]["name"] == "Two"


@pytest.mark.usefixtures("settled")
def test_looking_again_reads_nothing(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("mine")
    bench.write("broken", metadata="a: [")
    bench.write("empty", compose=None)
    bench.listed()
    with counting(monkeypatch) as read:
        bench.listed()
        bench.client.get("/api/templates/categories")
        bench.client.get("/api/templates/mine/compose")
    assert read == []


@pytest.mark.usefixtures("settled")
def test_only_what_changed_is_read_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("mine")
    bench.listed()
    bench.write("mine", metadata="name: Other\n")
    with counting(monkeypatch) as read:
        bench.listed()
    assert read == ["mine"]


def test_a_fresh_file_is_not_trusted(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.listed()
    monkeypatch.setattr(library, "_RACY_NANOSECONDS", 10**15)
    with counting(monkeypatch) as read:
        bench.service._library.get("static")
        bench.service._library.get("static")
    assert read == ["static", "static"]


def test_a_disk_copy_wins_over_the_built_in_one(bench: Any) -> None:
    bench.write("static", metadata="name: Ours\n")
    found = bench.listed()["static"]
    assert found["name"] == "Ours"
    assert found["content"] == "name: ${NAME}\nservices:\n  web:\n    image: busybox\n"


def test_a_disk_copy_without_a_compose_file_leaves_the_built_in_one(bench: Any) -> None:
    bench.write("static", compose=None, metadata="name: Half\n")
    assert bench.listed()["static"]["name"] == "Static site"
    assert sorted(path.name for path in (bench.folder / "static").iterdir()) == ["metadata.yml"]


def test_order_is_by_priority_then_name(bench: Any) -> None:
    bench.write("zz", metadata="priority: 1000\nname: B\n")
    bench.write("yy", metadata="priority: 1000\nname: a\n")
    bench.write("xx", metadata="priority: -5\n")
    order = list(bench.listed())
    assert order[:2] == ["yy", "zz"]
    assert order[-1] == "xx"


@pytest.mark.parametrize("name", ["Upper", "under_score", ".hidden", "-dash", "dot.ted", "ä", "a" * 129])
def test_a_folder_whose_name_is_no_id_is_no_template(bench: Any, name: str) -> None:
    bench.write(name)
    assert set(bench.listed()) == BUILT_IN


def test_broken_metadata_gives_defaults_and_is_told_once(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write("my-shop", metadata="a: [")
    for _ in range(3):
        found = bench.listed()["my-shop"]
    assert {key: found[key] for key in ("name", "icon", "category", "priority", "container_port")} == {
        "name": "My Shop", "icon": "pi pi-box", "category": "general", "priority": 0, "container_port": None,
    }  # fmt: skip
    told = [record.getMessage() for record in caplog.records if "my-shop" in record.getMessage()]
    assert len(told) == 1
    assert "line" in told[0]


def test_broken_compose_text_is_listed_as_it_is(bench: Any) -> None:
    bench.write("mine", "services: [\n")
    assert bench.listed()["mine"]["content"] == "services: [\n"


def bomb() -> str:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{c}: &{c} [{','.join(['*' + p] * 10)}]" for p, c in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


def test_a_yaml_bomb_in_metadata_is_refused(bench: Any) -> None:
    bench.write("mine", metadata=bomb() + "\nname: Bomb\n")
    assert bench.listed()["mine"]["name"] == "Mine"
    assert bench.service._library.get("mine").metadata.problems


def test_a_yaml_bomb_as_compose_file_makes_nothing(bench: Any) -> None:
    bench.write("mine", bomb())
    with pytest.raises(Invalid) as caught:
        bench.render("mine")
    assert caught.value.code == "COMPOSE_INVALID"
    assert bench.client.get("/api/templates/mine/compose").status_code == 200


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    target = path.parent.parent / "elsewhere.yml"
    target.write_text("name: Stolen\nservices: {}\n")
    path.symlink_to(target)


def make_device_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(50 << 20)


def make_binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00\x01")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


KINDS = [make_fifo, make_link, make_device_link, make_loop, make_folder, make_huge, make_binary, make_socket]


@pytest.mark.parametrize("make", KINDS)
def test_a_compose_file_that_is_no_plain_small_text_leaves_the_template_out(
    bench: Any, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make(bench.write("mine", compose=None) / "docker-compose.yml")
    assert set(bench.listed()) == BUILT_IN
    assert bench.client.get("/api/templates/mine/compose").status_code == 404
    assert any("'mine': it is left out" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("make", KINDS)
def test_metadata_that_is_no_plain_small_text_gives_defaults(bench: Any, make: Any) -> None:
    make(bench.write("mine") / "metadata.yml")
    assert bench.listed()["mine"]["name"] == "Mine"


def test_a_linked_folder_is_no_template(bench: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "docker-compose.yml").write_text("services: {}\n")
    bench.listed()
    (bench.folder / "mine").symlink_to(elsewhere)
    (bench.folder / "file").write_text("x")
    assert set(bench.listed()) == BUILT_IN


def test_a_byte_order_mark_is_no_content(bench: Any) -> None:
    bench.write("mine", b"\xef\xbb\xbfname: ${NAME}\n", "\ufeffname: Mine\n")
    assert (bench.listed()["mine"]["content"], bench.listed()["mine"]["name"]) == ("name: ${NAME}\n", "Mine")


def test_assembling_a_panel_touches_no_template(bench: Any) -> None:
    assert not bench.folder.exists()
