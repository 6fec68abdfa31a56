import errno
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flatrun_core.errors import Failed
from flatrun_deployments.files import TEMP_PREFIX, Unreadable, atomic_write, backup, leaves, read_bytes

NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\n\0")
    assert read_bytes(tmp_path, "a", 100) == b"\xef\xbb\xbfa\r\n\0"


def test_the_limit_is_exact(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 2048)
    assert len(read_bytes(tmp_path, "a", 2048)) == 2048
    with pytest.raises(Unreadable, match="larger than 1 KiB"):
        read_bytes(tmp_path, "a", 1024)


def test_endless_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/dev/zero")
    (tmp_path / "b").symlink_to("/proc/kmsg")
    for name in ("a", "b"):
        with pytest.raises(Unreadable):
            read_bytes(tmp_path, name, 10)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(Unreadable, match="not a regular file"):
        read_bytes(tmp_path, "a", 10)


def test_links_are_followed_inside_only(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "real").write_text("in")
    (tmp_path / "outside").write_text("out")
    (tmp_path / "folder2").mkdir()
    (tmp_path / "folder2" / "x").write_text("sibling")
    (folder / "in").symlink_to("sub/real")
    (folder / "out").symlink_to("../outside")
    (folder / "sibling").symlink_to("../folder2/x")
    (folder / "chain").symlink_to("hop")
    (folder / "hop").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to("loop")
    (folder / "nowhere").symlink_to("gone")
    assert read_bytes(folder, "in", 10) == b"in"
    for name in ("out", "sibling", "chain"):
        with pytest.raises(Unreadable, match="leaves"):
            read_bytes(folder, name, 10)
        assert leaves(folder, name)
    with pytest.raises(Unreadable):
        read_bytes(folder, "loop", 10)
    with pytest.raises(FileNotFoundError):
        read_bytes(folder, "nowhere", 10)
    assert not leaves(folder, "in")
    assert not leaves(folder, "gone")
    assert leaves(folder, "loop")


def test_a_folder_reached_by_a_link_counts_as_itself(tmp_path: Path) -> None:
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "real" / "sub" / "f").write_text("x")
    (tmp_path / "real" / "l").symlink_to("sub/f")
    (tmp_path / "link").symlink_to("real")
    assert read_bytes(tmp_path / "link", "l", 10) == b"x"


def test_a_write_replaces_and_keeps_mode_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_write(path, b"one")
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o640)
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    atomic_write(path, b"three", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("permitted", [True, False])
def test_a_write_keeps_the_owner_where_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, permitted: bool
) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    before = path.stat()
    given: list[tuple[int, int]] = []

    def fchown(_descriptor: int, user: int, group: int) -> None:
        given.append((user, group))
        if not permitted:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    # Only root can really give files away.
    monkeypatch.setattr(os, "fchown", fchown)
    atomic_write(path, b"y")
    assert path.read_bytes() == b"y"
    assert given == [(before.st_uid, before.st_gid)]


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_a_write_over_something_odd_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    (tmp_path / "target").write_text("kept")
    if kind == "link":
        path.symlink_to("target")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(Failed) as caught:
        atomic_write(path, b"x")
    assert caught.value.code == "STORAGE_FAILED"
    assert (tmp_path / "target").read_text() == "kept"
    assert names(tmp_path) == ["a", "target"]


@pytest.mark.parametrize(
    ("number", "code"),
    [(28, "STORAGE_FULL"), (122, "STORAGE_FULL"), (5, "STORAGE_FAILED"), (30, "STORAGE_FAILED")],
)
def test_a_failing_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Failed) as caught:
        atomic_write(path, b"new")
    assert caught.value.code == code
    assert caught.value.status == 500
    assert str(tmp_path) not in caught.value.message
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_really_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """With a limit on the size of files, which every system has, unlike a small disk."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from flatrun_core.errors import Failed; from flatrun_deployments.files import atomic_write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    atomic_write(Path(sys.argv[1]), b'x' * 10000)\n"
        "except Failed as exc:\n    print(exc.code)\n"
    )
    path = tmp_path / "a"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "STORAGE_FAILED"
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_missing_folder_is_an_error_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        atomic_write(tmp_path / "none" / "a", b"x")
    assert str(tmp_path) not in caught.value.message


KILLED = """
import sys; from pathlib import Path; from flatrun_deployments.files import atomic_write
path = Path(sys.argv[1]); print("ready", flush=True)
for number in range(10**9):
    atomic_write(path, (b"%d" % (number % 10)) * 200_000)
"""


def test_a_kill_in_the_middle_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"9" * 200_000)
    for delay in (0.0, 0.003, 0.007, 0.011, 0.02):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        data = path.read_bytes()
        assert len(data) == 200_000
        assert len(set(data)) == 1
    assert all(name == "a" or name.startswith(TEMP_PREFIX) for name in names(tmp_path))


def test_copies_are_kept_five_deep(tmp_path: Path) -> None:
    path = tmp_path / "docker-compose.yml"
    for number in range(8):
        path.write_text(f"version {number}")
        copy = backup(path, NOW.replace(second=number))
        assert copy is not None
        assert copy.name == f"docker-compose.yml.bak.2024010203040{number}"
    assert names(tmp_path) == [
        "docker-compose.yml",
        *(f"docker-compose.yml.bak.2024010203040{n}" for n in range(3, 8)),
    ]
    assert copy is not None
    assert copy.read_text() == "version 7"


def test_two_copies_within_a_second_are_two(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    path.chmod(0o600)
    first = backup(path, NOW)
    path.write_text("2")
    second = backup(path, NOW)
    assert first is not None
    assert second is not None
    assert (first.read_text(), second.read_text()) == ("1", "2")
    assert second.stat().st_mode & 0o777 == 0o600


def test_no_file_gives_no_copy_and_an_odd_one_an_error(tmp_path: Path) -> None:
    assert backup(tmp_path / "a", NOW) is None
    (tmp_path / "a").mkdir()
    with pytest.raises(Failed):
        backup(tmp_path / "a", NOW)
