"""Which folders of the root are deployments, and what is told of each."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.errors import Failed
from flatrun_deployments.discovery import (
    CREATING_MARKER,
    REMOVED_MARKER,
    Discovery,
    is_removed,
    is_unfinished,
)


def test_folders_with_a_compose_file_are_found_by_name(
    root: Path, found: Discovery, make: Any, names: Any
) -> None:
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


def test_a_root_that_is_no_folder_has_nothing_unfinished_to_tell(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Failed):
        Discovery(lambda: tmp_path / "file").unfinished()


def test_removed_and_unfinished_folders_are_hidden(
    root: Path, found: Discovery, make: Any, names: Any
) -> None:
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


def test_a_folder_is_described(found: Discovery, make: Any, only: Any, compose_text: str) -> None:
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
    assert folder.compose.text == compose_text
    assert folder.user_override == path / "compose.override.yml"
    assert folder.env_files == (path / ".env.flatrun",)
    assert folder.override == path / ".flatrun.override.yml"
    assert folder.primary == "web"
    assert folder.host_ports == {(8081, "tcp"), (9000, "tcp")}
    assert folder.services[0].ports == ("9000:80", "8081:80")
    assert folder.has_service_yml


def test_a_folder_without_extras_has_none(found: Discovery, make: Any, only: Any) -> None:
    make("blog")
    folder = only(found)
    assert folder.user_override is None
    assert folder.env_files == ()
    assert not folder.has_service_yml
    assert folder.metadata is not None
    assert folder.metadata["name"] == "blog"
    assert folder.services[0].ports == ("8080:80",)


def test_the_users_own_variables_are_read_and_ours_come_after_them(
    found: Discovery, make: Any, only: Any
) -> None:
    path = make("blog", user_env="PORT=1111\nA=theirs\n")
    assert only(found).services[0].ports == ("1111:80",)
    (path / ".env.flatrun").write_text("PORT=2222\nB=ours\n")
    folder = only(found)
    assert folder.env_files == (path / ".env", path / ".env.flatrun")
    assert folder.services[0].ports == ("2222:80",)
    assert folder.env == {"PORT": "2222", "A": "theirs", "B": "ours"}
    (path / ".env.flatrun").write_text("B=ours\n")
    assert only(found).services[0].ports == ("1111:80",)


def test_a_folder_in_the_place_of_the_users_variables_is_passed_over(
    found: Discovery, make: Any, only: Any
) -> None:
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
    root: Path, found: Discovery, present: list[str], name: str, only: Any, compose_text: str
) -> None:
    (root / "blog").mkdir()
    for file in present:
        (root / "blog" / file).write_text(compose_text)
    folder = only(found)
    assert folder.compose.path.name == name
    # Compose reads override files only beside the usual names.
    assert folder.user_override is None


def test_a_usual_name_that_is_no_file_gives_way_to_one_that_is(
    found: Discovery, make: Any, only: Any, compose_text: str
) -> None:
    path = make("blog", None)
    (path / "docker-compose.yml").mkdir()
    (path / "compose.yaml").write_text(compose_text)
    assert only(found).problem == ""
    assert only(found).compose.path.name == "compose.yaml"
