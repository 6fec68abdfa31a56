from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.errors import Invalid
from flatrun_deployments.names import FOUND_NAME, NEW_NAME, check_found, check_new, inside

BAD = [
    "",
    "-a",
    "a-",
    "A",
    "a b",
    "a\n",
    "\na",
    "a/b",
    "..",
    ".",
    "../x",
    "a.b",
    "a_b",
    "a" * 64,
    "a" * 300,
    "é",
    "a\0",
    "\u0661",
    None,
    7,
    True,
    ["a"],
    {"a": 1},
]


@pytest.mark.parametrize("name", ["a", "0", "my-app", "a" * 63, "a--b", "1-2"])
def test_new_names_of_the_pattern_are_taken(name: str) -> None:
    assert check_new(name) == name


@pytest.mark.parametrize("name", BAD)
def test_other_new_names_are_refused(name: object) -> None:
    with pytest.raises(Invalid) as caught:
        check_new(name)
    assert caught.value.code == "INVALID_NAME"
    assert caught.value.status == 400


@pytest.mark.parametrize("name", ["nginx", "00-flatrun-maps", "00-flatrun"])
def test_reserved_names_and_prefixes_are_refused(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_new(name, ["nginx", "00-flatrun*"])
    assert caught.value.code == "RESERVED_NAME"


def test_a_reserved_name_is_no_prefix_by_itself() -> None:
    assert check_new("nginx2", ["nginx"]) == "nginx2"


@pytest.mark.parametrize("name", ["My.App_1", "a" * 128, "a..b", "lost-found"])
def test_found_names_are_wider(name: str) -> None:
    assert check_found(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "a/b", "a\n", "a" * 129, "a b", "lost+found", None]
)
def test_other_found_names_are_refused(name: object) -> None:
    with pytest.raises(Invalid) as caught:
        check_found(name)
    assert caught.value.code == "INVALID_NAME"


@given(st.text(max_size=80))
def test_a_name_that_passes_is_one_plain_path_segment(name: str) -> None:
    if NEW_NAME.fullmatch(name):
        assert FOUND_NAME.fullmatch(name)
    if FOUND_NAME.fullmatch(name):
        assert Path("/root", name).parent == Path("/root")
        assert name.isascii()
        assert not name.startswith((".", "-"))


def test_paths_inside_resolve(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert inside(tmp_path, "link", "b") == tmp_path / "a" / "b"
    assert inside(tmp_path, "x/y") == tmp_path / "x" / "y"


@pytest.mark.parametrize(
    "parts", [(), ("",), (".",), ("..",), ("a", "../.."), ("/etc",), ("a\0b",), ("a/../b",), ("out",)]
)
def test_paths_that_leave_are_refused(tmp_path: Path, parts: tuple[str, ...]) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "out").symlink_to(tmp_path)
    with pytest.raises(Invalid) as caught:
        inside(tmp_path / "root", *parts)
    assert caught.value.code == "INVALID_PATH"


@given(st.lists(st.text(st.sampled_from("a./\0\\~"), max_size=6), max_size=4))
def test_no_path_ever_leaves(parts: list[str]) -> None:
    root = Path("/nonexistent/root")
    try:
        path = inside(root, *parts)
    except Invalid:
        return
    assert path.is_relative_to(root)
    assert path != root


def test_a_symlink_loop_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Invalid):
        inside(tmp_path, "loop", "x")
