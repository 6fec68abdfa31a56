import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flatrun_core.errors import Failed
from flatrun_deployments.files import TEMP_PREFIX
from flatrun_deployments.tree import remove_leftovers, remove_tree


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_everything_in_the_folder_goes_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "precious").write_text("x")
    folder = tmp_path / "gone"
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a" / "file").write_text("x")
    (folder / "odd\udcff name").write_text("x")
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("../keep")
    (folder / "a" / "link").symlink_to(tmp_path / "keep" / "precious")
    (folder / "nowhere").symlink_to("gone")
    remove_tree(tmp_path, folder)
    assert names(tmp_path) == ["keep"]
    assert (tmp_path / "keep" / "precious").read_text() == "x"


def test_an_absent_folder_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path, tmp_path / "none")


def test_of_a_linked_folder_only_the_link_goes(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("x")
    (tmp_path / "link").symlink_to("real")
    remove_tree(tmp_path, tmp_path / "link")
    assert names(tmp_path) == ["real"]
    assert names(tmp_path / "real") == ["a"]


@pytest.mark.parametrize("path", ["", "..", "a/b", "../x"])
def test_only_direct_folders_of_the_root_are_taken(tmp_path: Path, path: str) -> None:
    (tmp_path / "root" / "a" / "b").mkdir(parents=True)
    with pytest.raises(ValueError, match="not directly in the root"):
        remove_tree(tmp_path / "root", tmp_path / "root" / path)
    assert (tmp_path / "root" / "a" / "b").is_dir()


def test_closed_folders_are_opened(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    (folder / "closed" / "inner").mkdir(parents=True)
    (folder / "closed" / "inner" / "f").write_text("x")
    (folder / "closed" / "inner").chmod(0)
    (folder / "closed").chmod(0o555)
    remove_tree(tmp_path, folder)
    assert names(tmp_path) == []


def test_depth_costs_neither_stack_nor_descriptors(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    current = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 20, dir_fd=current)
        deeper = os.open("d" * 20, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = deeper
    os.close(current)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    try:
        remove_tree(tmp_path, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert names(tmp_path) == []


def test_a_program_still_writing_does_not_stop_it(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    (folder / "data").mkdir(parents=True)
    handle = os.open(folder / "data", os.O_RDONLY)
    stop = threading.Event()

    def write() -> None:
        for number in range(200):
            if stop.is_set():
                return
            try:
                os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
            except FileNotFoundError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        remove_tree(tmp_path, folder)
    except Failed:
        # It may lose the race each time; then the folder is back under its name.
        assert folder.is_dir()
    finally:
        stop.set()
        writer.join()
        os.close(handle)


def test_what_cannot_be_deleted_is_back_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stays"
    folder.mkdir()
    (folder / "f").write_text("x")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(Failed) as caught:
        remove_tree(tmp_path, folder)
    assert caught.value.code == "FILES_NOT_REMOVED"
    assert str(tmp_path) not in caught.value.message
    assert names(tmp_path) == ["stays"]
    assert (folder / "f").read_text() == "x"


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    blog = tmp_path / "blog"
    blog.mkdir()
    (tmp_path / ".flatrun").mkdir()
    (blog / "docker-compose.yml").write_text("x")
    (blog / f"{TEMP_PREFIX}{dead.stdout.strip()}-ab").write_text("half")
    (blog / f"{TEMP_PREFIX}{os.getpid()}-ab").write_text("half")
    (blog / f"{TEMP_PREFIX}strange").write_text("half")
    (blog / f"{TEMP_PREFIX}{os.getppid()}-ab").write_text("being written")
    (tmp_path / ".flatrun" / f"{TEMP_PREFIX}x").write_text("half")
    (tmp_path / f"{TEMP_PREFIX}y" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("blog")
    removed = remove_leftovers(tmp_path)
    assert len(removed) == 5
    assert names(blog) == sorted(["docker-compose.yml", f"{TEMP_PREFIX}{os.getppid()}-ab"])
    assert names(tmp_path) == [".flatrun", "blog", "link"]
    assert names(tmp_path / ".flatrun") == []


def test_no_root_has_no_leftovers(tmp_path: Path) -> None:
    assert remove_leftovers(tmp_path / "none") == []


def test_a_killed_deletion_is_finished_by_the_next_start(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from flatrun_deployments import tree\n"
        "real = tree._delete\n"
        "def delete(*args):\n    real(*args); os.kill(os.getpid(), 9)\n"
        "tree._delete = delete\n"
        "tree.remove_tree(Path(sys.argv[1]), Path(sys.argv[1], 'gone'))\n"
    )
    folder = tmp_path / "gone"
    folder.mkdir()
    for number in range(5):
        (folder / f"f{number}").write_text("x")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    (left,) = names(tmp_path)
    assert left.startswith(TEMP_PREFIX)
    assert [path.name for path in remove_leftovers(tmp_path)] == [left]
    assert names(tmp_path) == []


UNPRIVILEGED = """
import os, sys; from pathlib import Path
from flatrun_core.errors import Failed
from flatrun_deployments.tree import remove_tree
# From inside, because the folders above the test's own are closed to others.
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
def refuse(*_):
    raise PermissionError(1, "Operation not permitted")
for name in ("own", "foreign"):
    if name == "foreign":
        os.fchmod = refuse  # as the kernel does where the folder is somebody else's
    try:
        remove_tree(Path("."), Path(name))
    except Failed as exc:
        print(name, exc.code)
"""


def test_somebody_who_is_not_root_deletes_what_is_theirs(tmp_path: Path) -> None:
    for name, mode in (("own", 0), ("foreign", 0o555)):
        data = tmp_path / name / "data"
        data.mkdir(parents=True)
        (data / "f").write_text("x")
        data.chmod(mode)
    if os.geteuid() == 0:
        for path in (tmp_path, *tmp_path.rglob("*")):
            os.chown(path, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "foreign FILES_NOT_REMOVED\n"
    assert names(tmp_path) == ["foreign"]
    assert (tmp_path / "foreign" / "data" / "f").read_text() == "x"


def test_a_leftover_that_cannot_be_deleted_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{TEMP_PREFIX}x").write_text("half")

    def refuse(_path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert remove_leftovers(tmp_path) == []
    monkeypatch.undo()
    assert names(tmp_path) == [f"{TEMP_PREFIX}x"]
