"""The settings file is replaced as a whole or not at all."""

import errno
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.settings_file import EditError, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flatrun.yml"
    path.write_bytes(b"old: 1\n")
    path.chmod(0o644)
    return path


def test_a_file_is_replaced_and_for_its_owner_only(file: Path) -> None:
    write_atomic(file, b"new: 1\n")
    assert file.read_bytes() == b"new: 1\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert names(file.parent) == ["flatrun.yml"]


def test_a_link_stays_a_link_and_its_target_is_written(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    link = elsewhere / "flatrun.yml"
    link.symlink_to("../flatrun.yml")
    write_atomic(link, b"new: 1\n")
    assert link.is_symlink()
    assert file.read_bytes() == b"new: 1\n"


def test_what_a_crash_left_behind_goes_with_the_next_write(file: Path) -> None:
    target = file.parent / "precious"
    target.write_text("x")
    (file.parent / ".flatrun.yml.new").symlink_to(target)
    write_atomic(file, b"new: 1\n")
    assert target.read_text() == "x"
    assert names(file.parent) == ["flatrun.yml", "precious"]


def test_a_file_edited_meanwhile_is_left_alone(file: Path) -> None:
    with pytest.raises(EditError):
        write_atomic(file, b"new: 1\n", expect=b"older: 1\n")
    assert file.read_bytes() == b"old: 1\n"
    assert names(file.parent) == ["flatrun.yml"]


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(file: Path, file_size_limit: Any) -> None:
    with file_size_limit(64), pytest.raises(OSError, match=r"."):
        write_atomic(file, b"x" * 100_000)
    assert file.read_bytes() == b"old: 1\n"
    assert names(file.parent) == ["flatrun.yml"]


def test_a_full_disk_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which some file systems tell only when the bytes are to be on the disk."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(file, b"x" * 100_000)
    assert file.read_bytes() == b"old: 1\n"
    assert names(file.parent) == ["flatrun.yml"]


@pytest.mark.parametrize("permitted", [True, False])
def test_an_owner_stays_the_owner_where_that_is_permitted(
    file: Path, monkeypatch: pytest.MonkeyPatch, permitted: bool
) -> None:
    owner = (file.stat().st_uid, file.stat().st_gid)
    given: list[tuple[int, int]] = []

    def fchown(_descriptor: int, user: int, group: int) -> None:
        given.append((user, group))
        if not permitted:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    # Only root can really give files away.
    monkeypatch.setattr(os, "fchown", fchown)
    write_atomic(file, b"new: 1\n")
    assert file.read_bytes() == b"new: 1\n"
    assert given == [owner]


def test_a_folder_that_may_not_be_written_gives_an_error() -> None:
    # In a process of its own: root may write everywhere, so there it becomes nobody first.
    code = """
import os, sys
from pathlib import Path
from flatrun_core.settings_file import write_atomic
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    write_atomic(Path(sys.argv[1]), b"new")
except PermissionError:
    print("refused")
"""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "flatrun.yml"
        file.write_bytes(b"old: 1\n")
        file.parent.chmod(0o555)
        ran = subprocess.run(
            [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False
        )
        file.parent.chmod(0o700)
        assert ran.stdout == "refused\n", ran.stderr
        assert file.read_bytes() == b"old: 1\n"


def test_readers_see_the_old_or_the_new_file_and_nothing_between(file: Path) -> None:
    texts = {b"old: 1\n", b"a" * 50_000, b"b" * 50_000}
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(file.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(50):
        write_atomic(file, (b"a" if turn % 2 else b"b") * 50_000)
    done.set()
    reader.join()
    assert seen <= texts
