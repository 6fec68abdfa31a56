"""Copies of built-in templates on disk: whole or not at all, and nothing of anybody's lost."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import Failed, Unavailable
from flatrun_templates import copies
from flatrun_templates.copies import Copies
from flatrun_templates.sources import built_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "root" / ".flatrun" / "templates"


@pytest.fixture
def shelf(folder: Path) -> Copies:
    return Copies(lambda: folder, built_in())


def failing(error: int, after: int = 0) -> Callable[..., None]:
    """Return a write that fails from the given call on, in the middle of the file."""
    real, calls = copies._write, iter(range(10_000))

    def write(path: Path, data: bytes) -> None:
        if next(calls) >= after:
            real(path, data[: len(data) // 2])
            raise OSError(error, os.strerror(error))
        real(path, data)

    return write


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shipped() -> dict[str, bytes]:
    return {
        f"{name}/{file.name}": file.read_bytes()
        for name, path in built_in().items()
        for file in path.glob("*.yml")
    }


def visible(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(folder).items() if not name.startswith(".")}


def test_the_first_look_copies_what_is_missing_for_the_panel_alone(bench: Any) -> None:
    bench.write("static", metadata="name: Ours\n")
    bench.listed()
    found = visible(bench.folder)
    assert found.pop("static/metadata.yml") == b"name: Ours\n"
    expected = shipped()
    del expected["static/metadata.yml"], expected["static/docker-compose.yml"]
    del found["static/docker-compose.yml"]
    assert found == expected
    assert (bench.folder / "wordpress").stat().st_mode & 0o777 == 0o700
    assert (bench.folder / "wordpress" / "metadata.yml").stat().st_mode & 0o777 == 0o600


def test_asking_for_one_copies_that_one(bench: Any) -> None:
    assert bench.client.get("/api/templates/ghost/compose").status_code == 200
    assert {name.split("/")[0] for name in visible(bench.folder)} == {"ghost"}


def test_a_deleted_copy_comes_back(bench: Any) -> None:
    bench.listed()
    shutil.rmtree(bench.folder / "static")
    assert "static" in bench.listed()
    assert (bench.folder / "static" / "docker-compose.yml").exists()


def test_many_callers_at_once_make_every_copy_once_and_whole(shelf: Copies, folder: Path) -> None:
    others = [shelf, *(Copies(lambda: folder, built_in()) for _ in range(3))]
    start = threading.Barrier(16)

    def call(number: int) -> bool:
        start.wait()
        return others[number % 4].add(sorted(built_in()))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(call, range(16)))
    assert visible(folder) == shipped()
    assert [path.name for path in folder.glob(".flatrun*")] == []


def test_refreshing_and_copying_at_once_end_whole(shelf: Copies, folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(shelf.restore if n % 2 else lambda: shelf.add(["static"])) for n in range(16)]
        for one in waiting:
            one.result()
    assert visible(folder) == shipped()


def test_a_crash_while_copying_leaves_no_half_template(folder: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom flatrun_templates import copies\n"
        "from flatrun_templates.sources import built_in\nreal, seen = copies._write, []\n"
        "def write(path, data):\n    seen.append(path)\n"
        "    real(path, data[:10] if len(seen) == 6 else data)\n    len(seen) == 6 and os._exit(9)\n"
        "copies._write = write\n"
        "copies.Copies(lambda: Path(sys.argv[1]), built_in()).add(sorted(built_in()))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(folder)], check=False, timeout=60)
    assert run.returncode == 9
    whole = shipped()
    assert all(whole[name] == data for name, data in visible(folder).items())
    assert len(list(folder.glob(".flatrun.tmp-*"))) == 1
    assert Copies(lambda: folder, built_in()).add(sorted(built_in()))
    assert visible(folder) == whole
    assert list(folder.glob(".flatrun.tmp-*")) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(errno.ENOSPC, "STORAGE_FULL"), (errno.EDQUOT, "STORAGE_FULL"), (errno.EACCES, "STORAGE_FAILED"),
     (errno.EROFS, "STORAGE_FAILED")],
)  # fmt: skip
def test_a_disk_that_takes_nothing_leaves_the_built_ins_and_is_a_clear_error(
    bench: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int, code: str
) -> None:
    monkeypatch.setattr(copies, "_write", failing(error, after=3))
    for _ in range(3):
        assert set(bench.listed()) == set(built_in())
    assert bench.render("static").files
    whole = shipped()
    assert all(whole[name] == data for name, data in visible(bench.folder).items())
    told = [record for record in caplog.records if "served from the program" in record.getMessage()]
    assert len(told) == 1
    answer = bench.client.post("/api/templates/refresh")
    assert (answer.status_code, answer.get_json()["code"]) == (500, code)
    assert str(bench.folder) not in answer.get_json()["error"]
    monkeypatch.undo()
    assert bench.client.post("/api/templates/refresh").get_json()["count"] == len(built_in())
    assert visible(bench.folder) == whole


def test_a_folder_that_cannot_be_made_is_a_clear_error(bench: Any) -> None:
    bench.folder.parent.mkdir(parents=True, exist_ok=True)
    bench.folder.write_text("in the way")
    assert set(bench.listed()) == set(built_in())
    answer = bench.client.post("/api/templates/refresh")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "STORAGE_FAILED")
    assert bench.folder.read_text() == "in the way"


def test_a_lock_that_never_comes_free_is_told(shelf: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add(["static"])
    monkeypatch.setattr(copies, "_WAIT_SECONDS", 0.05)

    def busy(handle: int, operation: int) -> None:
        raise BlockingIOError

    monkeypatch.setattr(copies.fcntl, "flock", busy)
    with pytest.raises(Unavailable):
        shelf.restore()
    assert shelf.add(["ghost"]) is False


def test_a_refresh_keeps_what_was_edited_and_restores_the_rest(bench: Any) -> None:
    bench.listed()
    static = bench.folder / "static"
    (static / "docker-compose.yml").write_text("mine")
    (static / "notes.txt").write_text("kept")
    (bench.folder / "php" / "metadata.yml").unlink()
    bench.write("own", metadata="name: Own\n")
    answer = bench.client.post("/api/templates/refresh")
    assert answer.get_json() == {"message": "Templates refreshed", "count": len(built_in()) + 1}
    found = visible(bench.folder)
    assert found.pop("static/docker-compose.yml.bak") == b"mine"
    assert found.pop("static/notes.txt") == b"kept"
    assert found.pop("own/metadata.yml") == b"name: Own\n"
    assert found.pop("own/docker-compose.yml")
    assert found == shipped()


def test_a_refresh_of_what_is_as_shipped_writes_nothing(bench: Any) -> None:
    bench.listed()
    before = {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*.yml")}
    bench.client.post("/api/templates/refresh")
    assert {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*.yml*")} == before


def test_earlier_copies_are_kept_up_to_five(bench: Any) -> None:
    bench.listed()
    static = bench.folder / "static"
    for number in range(8):
        (static / "docker-compose.yml").write_text(f"edit {number}")
        bench.client.post("/api/templates/refresh")
    kept = {path.name: path.read_text() for path in static.glob("*.bak*")}
    names = ["", ".1", ".2", ".3", ".4"]
    assert kept == {f"docker-compose.yml.bak{name}": f"edit {7 - n}" for n, name in enumerate(names)}


def test_a_full_disk_during_a_refresh_leaves_the_edited_file(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.listed()
    static = bench.folder / "static"
    (static / "docker-compose.yml").write_text("mine")
    before = tree(bench.folder)
    monkeypatch.setattr(copies, "_write", failing(errno.ENOSPC))
    assert bench.client.post("/api/templates/refresh").get_json()["code"] == "STORAGE_FULL"
    assert tree(bench.folder) == before


def test_a_link_in_the_place_of_a_file_is_set_aside_and_never_followed(bench: Any, tmp_path: Path) -> None:
    bench.listed()
    target = tmp_path / "precious"
    target.write_text("precious")
    static = bench.folder / "static"
    (static / "metadata.yml").unlink()
    (static / "metadata.yml").symlink_to(target)
    bench.client.post("/api/templates/refresh")
    assert target.read_text() == "precious"
    assert (static / "metadata.yml.bak").is_symlink()
    assert (static / "metadata.yml").read_bytes() == shipped()["static/metadata.yml"]


@pytest.mark.parametrize("kind", ["link", "file", "dangling"])
def test_what_stands_in_the_place_of_a_folder_is_set_aside(bench: Any, tmp_path: Path, kind: str) -> None:
    bench.listed()
    path = bench.folder / "static"
    shutil.rmtree(path)
    elsewhere = tmp_path / "elsewhere"
    if kind == "file":
        path.write_text("a file")
    else:
        path.symlink_to(elsewhere)
    if kind == "link":
        elsewhere.mkdir()
        (elsewhere / "docker-compose.yml").write_text("services: {}\n")
    assert bench.listed()["static"]["name"] == "Static site"
    bench.client.post("/api/templates/refresh")
    assert os.path.lexists(bench.folder / "static.bak")
    assert path.is_dir()
    assert not path.is_symlink()
    if kind == "link":
        assert (elsewhere / "docker-compose.yml").read_text() == "services: {}\n"


def test_the_errors_are_the_projects_own(shelf: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_write", failing(errno.EIO))
    with pytest.raises(Failed, match="input/output error"):
        shelf.restore()
