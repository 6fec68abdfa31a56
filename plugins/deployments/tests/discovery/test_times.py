"""When a deployment was made and last changed."""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flatrun_deployments import folder as folder_module
from flatrun_deployments.birth_time import birth_time
from flatrun_deployments.discovery import Discovery


def test_the_time_of_creation_does_not_follow_the_folder(
    found: Discovery, make: Any, monkeypatch: pytest.MonkeyPatch, only: Any
) -> None:
    monkeypatch.setattr(folder_module, "birth_time", lambda _path: 86400.0)
    path = make("blog")
    os.utime(path, (1, 1))
    created = datetime(1970, 1, 2, tzinfo=UTC)
    assert only(found).created_at == created
    (path / "another").touch()
    assert only(found).created_at == created


def test_a_birth_time_is_that_of_the_making_or_not_known(make: Any) -> None:
    before = time.time()
    path = make("blog")
    os.utime(path, (1, 1))
    born = birth_time(os.fspath(path))
    # File systems keep it by a clock that lags a tick behind.
    assert born is None or before - 1 <= born <= time.time()


def test_without_a_birth_time_the_time_of_the_last_change_counts(
    found: Discovery, make: Any, monkeypatch: pytest.MonkeyPatch, only: Any
) -> None:
    monkeypatch.setattr(folder_module, "birth_time", lambda _path: None)
    os.utime(make("blog"), (1, 1))
    assert only(found).created_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_the_time_of_change_is_the_newest_of_the_files(found: Discovery, make: Any, only: Any) -> None:
    path = make("blog", service="name: a\n", env="A=1\n")
    for second, name in enumerate(["docker-compose.yml", "service.yml", ".env.flatrun"], 1):
        os.utime(path / name, (second, second))
    assert only(found).updated_at == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)
    os.utime(path / "service.yml", (9, 9))
    assert only(found).updated_at == datetime(1970, 1, 1, 0, 0, 9, tzinfo=UTC)


@pytest.mark.parametrize("name", ["docker-compose.yml", "service.yml", ".env"])
def test_of_a_link_that_leaves_only_its_own_time_counts(
    root: Path, found: Discovery, make: Any, name: str, only: Any, compose_text: str
) -> None:
    path = make("blog", None if name == "docker-compose.yml" else compose_text)
    outside = root.parent / "outside"
    outside.write_text(compose_text)
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


def test_of_a_link_that_stays_the_time_of_its_file_counts(
    found: Discovery, make: Any, only: Any, compose_text: str
) -> None:
    path = make("blog", None)
    (path / "real.txt").write_text(compose_text)
    (path / "compose.yml").symlink_to("real.txt")
    os.utime(path / "real.txt", (7, 7))
    assert only(found).problem == ""
    assert only(found).updated_at == datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)


def test_times_beyond_the_calendar_break_nothing(make: Any) -> None:
    raw = folder_module.gather(make("blog", service="name: a\n"))
    assert raw is not None
    # Given and not set on the files: not every file system takes them.
    folder = folder_module.build(replace(raw, created=-float(1 << 33), updated_ns=(1 << 40) * 10**9))
    assert folder.problem == ""
    assert folder.created_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert folder.updated_at.year == 9999
