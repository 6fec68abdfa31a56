"""Files and folders that are broken, odd or closed are shown, cost little and are left as they are."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flatrun_deployments import folder as folder_module
from flatrun_deployments.discovery import Discovery

BROKEN_COMPOSE = [
    "a: [",
    "",
    "services: {}",
    "just text",
    "a: &a [*a]",
    "services: {web: {image: a}}\nx: \x00",
]


@pytest.mark.parametrize("text", BROKEN_COMPOSE)
def test_a_broken_compose_file_is_shown_and_untouched(
    found: Discovery, make: Any, text: str, only: Any
) -> None:
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
def test_a_broken_service_yml_is_shown_and_untouched(
    found: Discovery, make: Any, data: bytes, only: Any
) -> None:
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
def test_a_compose_file_that_is_not_utf8_is_shown(
    found: Discovery, make: Any, data: bytes, only: Any
) -> None:
    (make("blog", None) / "compose.yml").write_bytes(data)
    assert "not UTF-8" in only(found).problem


def test_a_compose_file_of_two_mebibytes_is_shown(
    found: Discovery, make: Any, only: Any, compose_text: str
) -> None:
    make("blog", "# " + "x" * (2 << 20) + "\n" + compose_text)
    start = time.process_time()
    assert "larger than 1024 KiB" in only(found).problem
    assert time.process_time() - start < 0.2


def test_bombs_on_disk_cost_little(found: Discovery, make: Any) -> None:
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
    root: Path, found: Discovery, make: Any, name: str, kind: str, only: Any
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


def test_a_folder_that_cannot_be_looked_into_is_shown(
    found: Discovery, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("blog")
    make("shop")
    real = folder_module.gather

    def refuse(path: Path) -> object:
        if path.name == "blog":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("flatrun_deployments.discovery.gather", refuse)
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
    request: pytest.FixtureRequest, root: Path, make: Any
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


def test_a_folder_that_is_loaded_and_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    loaded = Discovery(lambda: tmp_path).load(tmp_path / "loop")
    assert loaded is not None
    assert "cannot be read" in loaded.problem
