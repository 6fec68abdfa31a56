import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.errors import Failed
from flatrun_deployments import folder as folder_module
from flatrun_deployments.birth_time import birth_time
from flatrun_deployments.discovery import (
    CREATING_MARKER,
    REMOVED_MARKER,
    Discovery,
    Folder,
    is_removed,
    is_unfinished,
)
from flatrun_deployments.files import read_bytes

COMPOSE = "services:\n  web:\n    image: busybox\n    ports: ['${PORT:-8080}:80']\n"
Make = Callable[..., Path]
DISCOVERY = "flatrun_deployments.discovery."


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def found(root: Path) -> Discovery:
    return Discovery(lambda: root)


@pytest.fixture
def make(root: Path) -> Make:
    def make(name: str, compose: str | None = COMPOSE, **files: str) -> Path:
        folder = root / name
        folder.mkdir()
        if compose is not None:
            (folder / "docker-compose.yml").write_text(compose)
        for key, text in files.items():
            (folder / {"service": "service.yml", "env": ".env.flatrun", "user_env": ".env"}[key]).write_text(
                text
            )
        return folder

    return make


def names(discovery: Discovery) -> list[str]:
    return [folder.name for folder in discovery.scan()]


def only(discovery: Discovery) -> Folder:
    (folder,) = discovery.scan()
    return folder


def settle(discovery: Discovery) -> list[Folder]:
    """Wait until what is on disk is old enough to be trusted, and look."""
    time.sleep(0.12)
    return discovery.scan()


class Parses:
    """Counts how often folders are read and parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = self.built = 0
        gather, build = folder_module.gather, folder_module.build

        def counted_gather(path: Path) -> object:
            self.read += 1
            return gather(path)

        def counted_build(raw: folder_module.Raw) -> Folder:
            self.built += 1
            return build(raw)

        monkeypatch.setattr(DISCOVERY + "gather", counted_gather)
        monkeypatch.setattr(DISCOVERY + "build", counted_build)


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Parses:
    return Parses(monkeypatch)


def test_folders_with_a_compose_file_are_found_by_name(root: Path, found: Discovery, make: Make) -> None:
    for name in ("zeta", "alpha", "My.App"):
        make(name)
    make("empty", None)
    make(".hidden")
    make("lost+found")
    make("-dash")
    make("x" * 129)
    (root / "file").write_text("x")
    make(".flatrun", None)
    assert names(found) == ["My.App", "alpha", "zeta"]
    assert found.get("alpha") is not None
    for name in (
        "empty",
        ".hidden",
        "lost+found",
        "file",
        "none",
        "..",
        ".",
        "",
        "alpha/",
        "../root/alpha",
        "a\0",
    ):
        assert found.get(name) is None


def test_an_empty_or_missing_root_has_none_and_is_made(tmp_path: Path) -> None:
    discovery = Discovery(lambda: tmp_path / "a" / "b")
    assert discovery.get("x") is None
    assert discovery.unfinished() == []
    assert discovery.scan() == []
    assert (tmp_path / "a" / "b").is_dir()


def test_a_root_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Failed) as caught:
        Discovery(lambda: tmp_path / "file").scan()
    assert caught.value.code == "DEPLOYMENTS_UNREADABLE"
    assert str(tmp_path) not in caught.value.message


def test_a_folder_is_described(found: Discovery, make: Make) -> None:
    path = make(
        "blog", service="created_at: 2024-01-01T00:00:00Z\nnetworking: {host_port: 9000}\n", env="PORT=8081\n"
    )
    (path / "compose.override.yml").write_text("services: {}\n")
    folder = only(found)
    assert (folder.name, folder.path, folder.project, folder.problem) == ("blog", path, "blog", "")
    assert folder.created_at == datetime(2024, 1, 1, tzinfo=UTC)
    assert folder.metadata is not None
    assert folder.metadata["networking"]["container_port"] == 80
    assert folder.compose.path == path / "docker-compose.yml"
    assert folder.compose.text == COMPOSE
    assert folder.user_override == path / "compose.override.yml"
    assert folder.env_files == (path / ".env.flatrun",)
    assert folder.override == path / ".flatrun.override.yml"
    assert folder.primary == "web"
    assert folder.host_ports == {(8081, "tcp"), (9000, "tcp")}
    assert folder.services[0].ports == ("9000:80", "8081:80")
    assert folder.has_service_yml


def test_a_folder_without_extras_has_none(found: Discovery, make: Make) -> None:
    make("blog")
    folder = only(found)
    assert folder.user_override is None
    assert folder.env_files == ()
    assert not folder.has_service_yml
    assert folder.metadata is not None
    assert folder.metadata["name"] == "blog"
    assert folder.services[0].ports == ("8080:80",)


def test_the_users_own_variables_are_read_and_ours_come_after_them(found: Discovery, make: Make) -> None:
    path = make("blog", user_env="PORT=1111\nA=theirs\n")
    assert only(found).services[0].ports == ("1111:80",)
    (path / ".env.flatrun").write_text("PORT=2222\nB=ours\n")
    folder = only(found)
    assert folder.env_files == (path / ".env", path / ".env.flatrun")
    assert folder.services[0].ports == ("2222:80",)
    assert folder.env == {"PORT": "2222", "A": "theirs", "B": "ours"}
    (path / ".env.flatrun").write_text("B=ours\n")
    assert only(found).services[0].ports == ("1111:80",)


def test_a_folder_in_the_place_of_the_users_variables_is_passed_over(found: Discovery, make: Make) -> None:
    (make("blog") / ".env").mkdir()
    folder = only(found)
    assert (folder.problem, folder.env_files) == ("", ())


@pytest.mark.parametrize(
    ("present", "name"),
    [
        (["compose.yaml", "docker-compose.yaml", "x-compose.yml"], "docker-compose.yaml"),
        (["b-compose.yml", "a-compose.yaml"], "a-compose.yaml"),
        (["compose.prod.yml", "compose.override.yml"], "compose.prod.yml"),
    ],
)
def test_other_names_of_the_compose_file_are_found(
    root: Path, found: Discovery, present: list[str], name: str
) -> None:
    (root / "blog").mkdir()
    for file in present:
        (root / "blog" / file).write_text(COMPOSE)
    folder = only(found)
    assert folder.compose.path.name == name
    # Compose reads override files only beside the usual names.
    assert folder.user_override is None


def test_edits_by_hand_show_at_once(found: Discovery, make: Make) -> None:
    path = make("blog", service="name: one\n")
    for number in range(30):
        (path / "service.yml").write_text(f"name: n{number:03}\n")
        metadata = only(found).metadata
        assert metadata is not None
        assert metadata["name"] == f"n{number:03}"


@pytest.mark.parametrize("settled", [True, False])
def test_edits_that_keep_size_and_time_show_too(found: Discovery, make: Make, settled: bool) -> None:
    path = make("blog", service="name: one\n") / "service.yml"
    if settled:
        settle(found)
    found.scan()
    before = path.stat()
    path.write_text("name: two\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    metadata = only(found).metadata
    assert metadata is not None
    assert metadata["name"] == "two"


@pytest.mark.parametrize(
    "change", ["add service", "remove service", "remove compose", "rename", "marker", "override"]
)
def test_files_that_come_and_go_show_at_once(found: Discovery, make: Make, change: str) -> None:
    path = make("blog", service="name: one\n")
    settle(found)
    found.scan()
    if change == "add service":
        (path / ".env.flatrun").write_text("PORT=1\n")
        assert only(found).services[0].ports == ("1:80",)
    elif change == "remove service":
        (path / "service.yml").unlink()
        assert not only(found).has_service_yml
    elif change == "remove compose":
        (path / "docker-compose.yml").unlink()
        assert found.scan() == []
    elif change == "rename":
        path.rename(path.with_name("shop"))
        assert names(found) == ["shop"]
        assert only(found).project == "shop"
    elif change == "marker":
        (path / REMOVED_MARKER).touch()
        assert found.scan() == []
        assert found.get("blog") is None
    else:
        (path / "compose.override.yml").write_text("services: {}\n")
        assert only(found).user_override is not None


def test_unchanged_folders_are_not_read_again(found: Discovery, make: Make, parses: Parses) -> None:
    make("blog", service="name: a\n", env="A=1\n")
    make("shop")
    make("empty", None)
    first = settle(found)
    read, built = parses.read, parses.built
    for _ in range(3):
        assert all(now is then for now, then in zip(found.scan(), first, strict=True))
        assert found.get("blog") is first[0]
    assert (parses.read, parses.built) == (read, built)


def test_young_folders_are_read_again_but_not_parsed_again(
    found: Discovery, make: Make, parses: Parses
) -> None:
    make("blog")
    first = only(found)
    assert only(found) is first
    assert parses.built == 1


def test_other_files_of_the_folder_do_not_matter(found: Discovery, make: Make, parses: Parses) -> None:
    path = make("blog")
    (first,) = settle(found)
    (path / "data.txt").write_text("x")
    assert only(found) is first
    assert parses.built == 1


def test_removed_and_unfinished_folders_are_hidden(root: Path, found: Discovery, make: Make) -> None:
    (make("gone") / REMOVED_MARKER).touch()
    (make("half") / CREATING_MARKER).touch()
    (make("empty-half", None) / CREATING_MARKER).touch()
    make("blog")
    assert names(found) == ["blog"]
    assert [path.name for path in found.unfinished()] == ["empty-half", "half"]
    assert is_removed(root / "gone")
    assert is_unfinished(root / "half")
    assert not is_removed(root / "blog")
    loaded = found.load(root / "half")
    assert loaded is not None
    assert loaded.name == "half"
    assert found.load(root / "empty-half") is None
    assert found.load(root / "none") is None


BROKEN_COMPOSE = [
    "a: [",
    "",
    "services: {}",
    "just text",
    "a: &a [*a]",
    "services: {web: {image: a}}\nx: \x00",
]


@pytest.mark.parametrize("text", BROKEN_COMPOSE)
def test_a_broken_compose_file_is_shown_and_untouched(found: Discovery, make: Make, text: str) -> None:
    path = make("blog", text, service="domains: [{domain: a.example.com}]\n")
    folder = only(found)
    assert folder.problem
    assert folder.blocked == folder.problem
    assert folder.services == ()
    assert folder.compose.text == text
    assert folder.metadata is not None
    assert folder.metadata["domains"][0]["domain"] == "a.example.com"
    assert (path / "docker-compose.yml").read_text() == text


@pytest.mark.parametrize(
    "data", [b"a: [", b"- a", b"\xff\xfe\x00", b"networking: {expose: perhaps}", b"x" * (300 << 10)]
)
def test_a_broken_service_yml_is_shown_and_untouched(found: Discovery, make: Make, data: bytes) -> None:
    path = make("blog") / "service.yml"
    path.write_bytes(data)
    folder = only(found)
    assert "service.yml" in folder.problem
    assert folder.blocked == ""
    assert folder.metadata is None
    assert path.read_bytes() == data
    path.write_text("name: repaired\n")
    assert only(found).problem == ""


@pytest.mark.parametrize("data", [b"\xff\xfes\x00", b"services: {web: {image: \xe9}}"])
def test_a_compose_file_that_is_not_utf8_is_shown(found: Discovery, make: Make, data: bytes) -> None:
    (make("blog", None) / "compose.yml").write_bytes(data)
    assert "not UTF-8" in only(found).problem


def test_a_compose_file_of_two_mebibytes_is_shown(found: Discovery, make: Make) -> None:
    make("blog", "# " + "x" * (2 << 20) + "\n" + COMPOSE)
    start = time.process_time()
    assert "larger than 1024 KiB" in only(found).problem
    assert time.process_time() - start < 0.2


def test_bombs_on_disk_cost_little(found: Discovery, make: Make) -> None:
    laughs = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    make("one", laughs)
    make("two", service=laughs)
    make("three", "a: " + "[" * (1 << 19))
    make("four", env='A="' + "\\" * (1 << 19))
    start = time.process_time()
    folders = found.scan()
    assert time.process_time() - start < 1.0
    assert [bool(folder.problem) for folder in folders] == [False, True, True, True]


@pytest.mark.parametrize("name", ["docker-compose.yml", "service.yml", ".env.flatrun"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "nowhere", "loop", "out", "device"])
def test_odd_files_never_block_and_are_shown(
    root: Path, found: Discovery, make: Make, name: str, kind: str
) -> None:
    (root.parent / "secret").write_text("services: {leak: {image: x}}\nname: leak\n")
    path = make("blog") / name
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"nowhere": "gone", "loop": name, "out": "../../secret", "device": "/dev/zero"}[kind])
    folder = only(found)
    assert name in folder.problem
    assert "leak" not in repr(folder)
    assert "leak" not in folder.compose.text


def test_a_usual_name_that_is_no_file_gives_way_to_one_that_is(found: Discovery, make: Make) -> None:
    path = make("blog", None)
    (path / "docker-compose.yml").mkdir()
    (path / "compose.yaml").write_text(COMPOSE)
    assert only(found).problem == ""
    assert only(found).compose.path.name == "compose.yaml"


def test_links_inside_the_folder_are_followed_and_watched(found: Discovery, make: Make) -> None:
    path = make("blog", None)
    for version in ("v1", "v2"):
        (path / version).mkdir()
        (path / version / "compose.yml").write_text(f"services: {{{version}: {{image: x}}}}")
    (path / "current").symlink_to("v1")
    (path / "compose.yml").symlink_to("current/compose.yml")
    settle(found)
    assert only(found).services[0].name == "v1"
    (path / "next").symlink_to("v2")
    (path / "next").rename(path / "current")
    assert only(found).services[0].name == "v2"
    (path / "v2" / "compose.yml").unlink()
    assert "link to nowhere" in only(found).problem


@pytest.mark.parametrize("name", ["compose.override.yml", ".flatrun.override.yml"])
def test_an_override_that_leaves_is_refused(root: Path, found: Discovery, make: Make, name: str) -> None:
    (root.parent / "outside.yml").write_text("services: {}\n")
    (make("blog") / name).symlink_to("../../outside.yml")
    assert name in only(found).blocked


def test_linked_folders_count_inside_the_root_only(root: Path, found: Discovery, make: Make) -> None:
    make("real")
    make(".store", None)
    (root / ".store" / "kept").mkdir()
    (root / ".store" / "kept" / "compose.yml").write_text(COMPOSE)
    (root / ".flatrun" / "templates").mkdir(parents=True)
    (root / ".flatrun" / "templates" / "compose.yml").write_text(COMPOSE)
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "compose.yml").write_text(COMPOSE)
    (root / "compose.yml").write_text(COMPOSE)
    links = {
        "inside": ".store/kept",
        "out": "../outside",
        "self": ".",
        "up": "..",
        "loop": "loop",
        "gone": "none",
        "panel": ".flatrun/templates",
        "absolute": str(outside),
        "chain": "out",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    assert names(found) == ["inside", "real"]
    for name in links:
        assert (found.get(name) is not None) == (name == "inside")


def test_a_linked_root_works(root: Path, make: Make) -> None:
    make("blog")
    (root / "link").symlink_to("blog")
    (root.parent / "link").symlink_to("root")
    discovery = Discovery(lambda: root.parent / "link")
    assert names(discovery) == ["blog", "link"]
    assert discovery.scan()[0].path == root.parent / "link" / "blog"


def test_the_time_of_creation_does_not_follow_the_folder(
    found: Discovery, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "birth_time", lambda _path: 86400.0)
    path = make("blog")
    os.utime(path, (1, 1))
    created = datetime(1970, 1, 2, tzinfo=UTC)
    assert only(found).created_at == created
    (path / "another").touch()
    assert only(found).created_at == created


def test_a_birth_time_is_that_of_the_making_or_not_known(make: Make) -> None:
    before = time.time()
    path = make("blog")
    os.utime(path, (1, 1))
    born = birth_time(os.fspath(path))
    # File systems keep it by a clock that lags a tick behind.
    assert born is None or before - 1 <= born <= time.time()


def test_without_a_birth_time_the_time_of_the_last_change_counts(
    found: Discovery, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "birth_time", lambda _path: None)
    os.utime(make("blog"), (1, 1))
    assert only(found).created_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_the_time_of_change_is_the_newest_of_the_files(found: Discovery, make: Make) -> None:
    path = make("blog", service="name: a\n", env="A=1\n")
    for second, name in enumerate(["docker-compose.yml", "service.yml", ".env.flatrun"], 1):
        os.utime(path / name, (second, second))
    assert only(found).updated_at == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)
    os.utime(path / "service.yml", (9, 9))
    assert only(found).updated_at == datetime(1970, 1, 1, 0, 0, 9, tzinfo=UTC)


@pytest.mark.parametrize("name", ["docker-compose.yml", "service.yml", ".env"])
def test_of_a_link_that_leaves_only_its_own_time_counts(
    root: Path, found: Discovery, make: Make, name: str
) -> None:
    path = make("blog", None if name == "docker-compose.yml" else COMPOSE)
    outside = root.parent / "outside"
    outside.write_text(COMPOSE)
    os.utime(outside, (900, 900))
    (path / name).symlink_to(outside)
    os.utime(path / name, (5, 5), follow_symlinks=False)
    for file in path.iterdir():
        if not file.is_symlink():
            os.utime(file, (1, 1))
    assert "leaves" in only(found).problem
    assert only(found).updated_at == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
    os.utime(outside, (1000, 1000))
    assert only(found).updated_at == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)


def test_of_a_link_that_stays_the_time_of_its_file_counts(found: Discovery, make: Make) -> None:
    path = make("blog", None)
    (path / "real.txt").write_text(COMPOSE)
    (path / "compose.yml").symlink_to("real.txt")
    os.utime(path / "real.txt", (7, 7))
    assert only(found).problem == ""
    assert only(found).updated_at == datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)


def test_times_beyond_the_calendar_break_nothing(make: Make) -> None:
    raw = folder_module.gather(make("blog", service="name: a\n"))
    assert raw is not None
    # Given and not set on the files: not every file system takes them.
    folder = folder_module.build(replace(raw, created=-float(1 << 33), updated_ns=(1 << 40) * 10**9))
    assert folder.problem == ""
    assert folder.created_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert folder.updated_at.year == 9999


def test_what_else_is_in_a_folder_is_not_even_listed(
    root: Path, found: Discovery, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make("big")
    (path / "data").touch()
    listed: list[Path] = []
    real = os.scandir

    def scandir(folder: Any) -> Any:
        listed.append(Path(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    for _ in range(2):
        settle(found)
    assert set(listed) == {root}


def test_files_vanishing_in_the_middle_hide_nothing_else(
    found: Discovery, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("blog", service="name: a\n")
    make("shop")
    real = read_bytes

    def vanish(folder: Path, name: str, limit: int) -> bytes:
        if folder.name == "blog" and name == "service.yml" and (folder / name).exists():
            (folder / name).unlink()
        return real(folder, name, limit)

    monkeypatch.setattr(folder_module, "read_bytes", vanish)
    blog, shop = found.scan()
    assert (blog.problem, shop.problem) == ("", "")
    assert not blog.has_service_yml


def test_folders_that_come_and_go_while_looking_never_break_it(
    root: Path, found: Discovery, make: Make
) -> None:
    make("steady")
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            path = make(f"n{number % 7}", service="name: a\n")
            (path / "docker-compose.yml").unlink()
            (path / "service.yml").unlink()
            path.rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            folders = {folder.name: folder for folder in found.scan()}
            assert folders["steady"].problem == ""
            assert found.get("steady") is not None
    finally:
        stop.set()
        thread.join()


def test_many_threads_see_the_same(found: Discovery, make: Make) -> None:
    for number in range(20):
        make(f"site-{number}")
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(names(found))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(result == results[0] and len(result) == 20 for result in results)


def test_a_folder_that_cannot_be_looked_into_is_shown(
    found: Discovery, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("blog")
    make("shop")
    real = folder_module.gather

    def refuse(path: Path) -> object:
        if path.name == "blog":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(DISCOVERY + "gather", refuse)
    blog, shop = found.scan()
    assert "permission denied" in blog.problem
    assert blog.services == ()
    assert shop.problem == ""


UNPRIVILEGED = """
import os, sys; from pathlib import Path
from flatrun_deployments.birth_time import birth_time
from flatrun_deployments.discovery import Discovery
# From inside, because the folders above the test's own are closed to others.
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for folder in Discovery(lambda: Path(".")).scan():
    print(folder.name, "|", folder.problem)
"""


def test_files_that_may_not_be_read_are_shown_with_their_reason(
    request: pytest.FixtureRequest, root: Path, make: Make
) -> None:
    closed, secret, meta = make("closed"), make("secret"), make("meta", service="name: a\n")
    request.addfinalizer(lambda: closed.chmod(0o700))
    for path in (secret / "docker-compose.yml", meta / "service.yml", closed):
        path.chmod(0)
    root.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(root)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "closed | the folder cannot be read: permission denied",
        "meta | service.yml cannot be read: permission denied",
        "secret | docker-compose.yml cannot be read: permission denied",
    ]


def test_an_unchanged_folder_costs_one_look_at_it_and_at_each_of_its_files(
    found: Discovery, make: Make, parses: Parses, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        make(f"site-{number}", service="name: a\n", env="A=1\n")
    settle(found)
    settle(found)
    read = parses.read
    looks: list[Any] = []
    real = os.stat

    def look(path: Any, *args: Any, **more: Any) -> os.stat_result:
        looks.append(path)
        return real(path, *args, **more)

    monkeypatch.setattr(os, "stat", look)
    assert len(found.scan()) == 20
    assert len([path for path in looks if b"site-" in os.fsencode(path)]) == 20 * 4
    assert parses.read == read


def test_a_root_that_is_no_folder_has_nothing_unfinished_to_tell(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Failed):
        Discovery(lambda: tmp_path / "file").unfinished()


def test_a_folder_that_is_loaded_and_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    loaded = Discovery(lambda: tmp_path).load(tmp_path / "loop")
    assert loaded is not None
    assert "cannot be read" in loaded.problem
