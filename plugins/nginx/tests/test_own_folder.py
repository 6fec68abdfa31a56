"""nginx's folder is nginx's own: never a deployment's, and never one with files of others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import Failed
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.settings import SETTINGS
from flatrun_nginx import own_folder
from flatrun_nginx.layout import Layout
from flatrun_nginx.rendering import signed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "sites"
    (folder / "blog").mkdir(parents=True)
    (folder / "blog" / "compose.yml").write_text("services: {}\n")
    return folder


def layout(root: Path, parent: Path) -> Layout:
    return Layout.of(root, parent / "conf.d", "/html")


@pytest.mark.parametrize("place", ["", "..", "blog", "blog/inner", ".flatrun", ".flatrun/x"])
def test_a_folder_that_is_somebody_elses_is_refused_and_stays_as_it_is(root: Path, place: str) -> None:
    before = sorted(root.rglob("*"))
    with pytest.raises(Failed) as caught:
        own_folder.check(layout(root, (root / place).resolve()))
    assert caught.value.code == "NGINX_FOLDER_REFUSED"
    assert "nginx.config_path" in caught.value.message
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("name", ["notes.txt", "conf.d/site.conf", "data/x"])
def test_files_of_others_are_named(root: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "elsewhere" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(Failed) as caught:
        own_folder.check(layout(root, tmp_path / "elsewhere"))
    assert name.partition("/")[0] in caught.value.message


def test_a_folder_of_its_own_is_taken(root: Path, tmp_path: Path) -> None:
    own_folder.check(layout(root, root / "nginx"))
    own_folder.check(layout(root, tmp_path / "not-there-yet"))
    used = tmp_path / "edge"
    (used / "conf.d").mkdir(parents=True)
    (used / "certs").mkdir()
    own_folder.check(layout(root, used))
    (used / "conf.d" / "default.conf").write_text(signed("# x\n"))
    (used / "notes.txt").write_text("mine")
    (used / "docker-compose.yml").write_text("services: {}\n")
    own_folder.check(layout(root, used))


def test_nothing_is_applied_and_the_start_says_so(
    make_world: Callable[..., Any], make_site: Callable[..., Any], tmp_path: Path
) -> None:
    foreign = tmp_path / "etc"
    foreign.mkdir()
    (foreign / "mime.types").write_text("")
    world = make_world(**{"nginx.config_path": str(foreign / "conf.d")})
    with pytest.raises(Failed) as caught:
        world.backend.apply([make_site("blog")], {"blog"}, False)
    assert caught.value.code == "NGINX_FOLDER_REFUSED"
    assert [path.name for path in foreign.iterdir()] == ["mime.types"]


def test_the_folder_stays_what_it_was_at_the_start(world: Any, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="restart") as caught:
        world.service(SETTINGS).change({"nginx": {"config_path": str(tmp_path / "x" / "conf.d")}}, SYSTEM)
    assert caught.value.code == "READ_ONLY_SETTING"
