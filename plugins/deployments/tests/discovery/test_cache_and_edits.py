"""Edits by hand show at once, and what has not changed is not read again."""

import os
from pathlib import Path
from typing import Any

import pytest

from flatrun_deployments.discovery import REMOVED_MARKER, Discovery


def test_edits_by_hand_show_at_once(found: Discovery, make: Any, only: Any) -> None:
    path = make("blog", service="name: one\n")
    for number in range(30):
        (path / "service.yml").write_text(f"name: n{number:03}\n")
        metadata = only(found).metadata
        assert metadata is not None
        assert metadata["name"] == f"n{number:03}"


@pytest.mark.parametrize("settled", [True, False])
def test_edits_that_keep_size_and_time_show_too(
    found: Discovery, make: Any, settled: bool, only: Any, settle: Any
) -> None:
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
def test_files_that_come_and_go_show_at_once(
    found: Discovery, make: Any, change: str, names: Any, only: Any, settle: Any
) -> None:
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


def test_unchanged_folders_are_not_read_again(found: Discovery, make: Any, parses: Any, settle: Any) -> None:
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
    found: Discovery, make: Any, parses: Any, only: Any
) -> None:
    make("blog")
    first = only(found)
    assert only(found) is first
    assert parses.built == 1


def test_other_files_of_the_folder_do_not_matter(
    found: Discovery, make: Any, parses: Any, only: Any, settle: Any
) -> None:
    path = make("blog")
    (first,) = settle(found)
    (path / "data.txt").write_text("x")
    assert only(found) is first
    assert parses.built == 1


def test_what_else_is_in_a_folder_is_not_even_listed(
    root: Path, found: Discovery, make: Any, monkeypatch: pytest.MonkeyPatch, settle: Any
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


def test_an_unchanged_folder_costs_one_look_at_it_and_at_each_of_its_files(
    found: Discovery, make: Any, parses: Any, monkeypatch: pytest.MonkeyPatch, settle: Any
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
