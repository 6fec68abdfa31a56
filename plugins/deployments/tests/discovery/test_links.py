"""Links are followed as long as they stay inside."""

from pathlib import Path
from typing import Any

import pytest

from flatrun_deployments.discovery import Discovery


def test_links_inside_the_folder_are_followed_and_watched(
    found: Discovery, make: Any, only: Any, settle: Any
) -> None:
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
def test_an_override_that_leaves_is_refused(
    root: Path, found: Discovery, make: Any, name: str, only: Any
) -> None:
    (root.parent / "outside.yml").write_text("services: {}\n")
    (make("blog") / name).symlink_to("../../outside.yml")
    assert name in only(found).blocked


def test_linked_folders_count_inside_the_root_only(
    root: Path, found: Discovery, make: Any, names: Any, compose_text: str
) -> None:
    make("real")
    make(".store", None)
    (root / ".store" / "kept").mkdir()
    (root / ".store" / "kept" / "compose.yml").write_text(compose_text)
    (root / ".flatrun" / "templates").mkdir(parents=True)
    (root / ".flatrun" / "templates" / "compose.yml").write_text(compose_text)
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "compose.yml").write_text(compose_text)
    (root / "compose.yml").write_text(compose_text)
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


def test_a_linked_root_works(root: Path, make: Any, names: Any) -> None:
    make("blog")
    (root / "link").symlink_to("blog")
    (root.parent / "link").symlink_to("root")
    discovery = Discovery(lambda: root.parent / "link")
    assert names(discovery) == ["blog", "link"]
    assert discovery.scan()[0].path == root.parent / "link" / "blog"
