import difflib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flatrun_core.errors import Conflict, Failed, Invalid
from flatrun_deployments import service_document
from flatrun_deployments.service_yml import edit, read
from flatrun_deployments.yaml_reader import read_yaml

HAND_WRITTEN = """\
# My blog, do not touch!
name: "Blog"            # shown in the panel
type: web
created_at: 2024-01-01T00:00:00Z
x-owner: {team: ops, pager: +49 30 12345}   # ours

networking:
    expose: true
    port: 8080          # as in the docs
    hex: 0x1F
    octal: 0644
    version: 3.10
    time: 22:22

# routes
domains:
    -   domain: blog.example.com
        aliases: [www.blog.example.com, 'b.example.com']
    # the shop
    -   domain: shop.example.com
        ssl:
            enabled: yes
text: |
    two
      lines
folded: >-
    one
    line
base: &base
    a: 1
more:
    <<: *base
    b: ~
# the end
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blog").mkdir()
    return tmp_path / "blog"


def change_and_fail(folder: Path, error: BaseException, by_hand: str = "", *, save: bool = True) -> None:
    """Set the type, save, let somebody else write, and fail."""
    with edit(folder, "blog") as document:
        document["type"] = "one"
        if save:
            document.save()
        if by_hand:
            put(folder, by_hand)
        raise error


def put(folder: Path, text: str | bytes) -> Path:
    path = folder / "service.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_one_change_changes_one_line(folder: Path) -> None:
    path = put(folder, HAND_WRITTEN)
    with edit(folder, "blog") as document:
        document["type"] = "application"
    assert path.read_text() == HAND_WRITTEN.replace("type: web", "type: application")


def test_a_nested_change_and_an_addition_leave_the_rest(folder: Path) -> None:
    path = put(folder, HAND_WRITTEN)
    with edit(folder, "blog") as document:
        document["networking"]["expose"] = False
        document["domains"].append({"domain": "new.example.com", "ssl": {"enabled": True}})
        document["credential_id"] = "c1"
    text = path.read_text()
    gone = [
        line for line in difflib.ndiff(HAND_WRITTEN.splitlines(), text.splitlines()) if line.startswith("- ")
    ]
    assert gone == ["-     expose: true"]
    assert "    -   domain: new.example.com\n        ssl:\n            enabled: true\n" in text
    metadata = read(text, "blog", None)
    assert [entry["domain"] for entry in metadata["domains"]][-1] == "new.example.com"
    assert metadata["credential_id"] == "c1"
    assert metadata["networking"]["expose"] is False


def test_no_change_writes_nothing(folder: Path) -> None:
    path = put(folder, HAND_WRITTEN)
    before = path.stat()
    with edit(folder, "blog") as document:
        document["type"] = "web"
        document["networking"]["expose"] = True
    assert path.stat() == before


@pytest.mark.parametrize(
    "text",
    [
        "name: a\ntype: web\n",
        "name: a\r\ntype: web\r\n",
        "\ufeffname: a\ntype: web\n",
        "name: a\ntype: web",
        "---\nname: a\ntype: web\n",
        "# c\n---\nname: a\ntype: web\n",
        "{name: a, type: web}\n",
        "name: a\ntype: web\ndomains:\n- domain: a.example.com\n",
        "name: a\ntype: web\ndomains:\n  - domain: a.example.com\n",
        "name: a\ntype: web\ndomains:\n    -  domain: a.example.com\n       aliases:\n         - b\n",
        "name: a\ntype: web\n\n\n# end\n\n",
        "type: web\nx: 'it''s'\ny: \"a\\nb\"\nz: 2024-01-01\n",
        "type: web\nu: ünï\nlong: " + "word " * 60 + "end\n",
    ],
)
def test_the_outer_form_is_kept(folder: Path, text: str) -> None:
    path = put(folder, text)
    with edit(folder, "blog") as document:
        document["type"] = "infrastructure"
    assert path.read_bytes().decode() == text.replace("web", "infrastructure", 1)


def test_an_absent_file_is_made_and_private(folder: Path) -> None:
    with edit(folder, "blog") as document:
        document["name"] = "Blog"
        document["domains"] = [{"domain": "a.example.com"}]
    path = folder / "service.yml"
    assert read_yaml(path.read_text()) == {"name": "Blog", "domains": [{"domain": "a.example.com"}]}
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_said_about_an_absent_file_makes_none(folder: Path) -> None:
    with edit(folder, "blog"):
        pass
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("text", ["", "\n", "# only\n# comments\n", "---\n", "{}\n", "null\n"])
def test_an_empty_file_can_be_filled(folder: Path, text: str) -> None:
    path = put(folder, text)
    with edit(folder, "blog") as document:
        document["name"] = "Blog"
    assert read_yaml(path.read_text())["name"] == "Blog"
    assert path.read_text().startswith("# only\n# comments\n" if "#" in text else "")


def test_everything_may_be_removed(folder: Path) -> None:
    path = put(folder, "name: a\n")
    with edit(folder, "blog") as document:
        del document["name"]
    assert read_yaml(path.read_text()) == {}


def test_saving_early_shows_and_leaving_keeps(folder: Path) -> None:
    path = put(folder, HAND_WRITTEN)
    with edit(folder, "blog") as document:
        document["type"] = "one"
        document.save()
        assert "type: one" in path.read_text()
        document["type"] = "two"
    assert path.read_text() == HAND_WRITTEN.replace("type: web", "type: two")


def test_an_exception_puts_the_old_bytes_and_times_back(folder: Path) -> None:
    path = put(folder, HAND_WRITTEN)
    os.utime(path, ns=(10**18, 10**18 + 7))
    path.chmod(0o640)
    with pytest.raises(RuntimeError):
        change_and_fail(folder, RuntimeError())
    assert path.read_text() == HAND_WRITTEN
    assert path.stat().st_mtime_ns == 10**18 + 7
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_exception_before_saving_leaves_the_file_alone(folder: Path) -> None:
    path = put(folder, HAND_WRITTEN)
    before = path.stat()
    with pytest.raises(RuntimeError):
        change_and_fail(folder, RuntimeError(), save=False)
    assert path.stat() == before


def test_an_exception_takes_a_made_file_away_again(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        change_and_fail(folder, KeyboardInterrupt())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"a: [",
        b"\xff\xfe",
        b"- a\n",
        b"networking: {expose: perhaps}\n",
        b"name: a\nname: b\n",
        b"a: &a [*a]\n",
        b"x: " + b"y" * (300 << 10),
        b"a: \x00",
    ],
)
def test_a_broken_file_is_refused_and_untouched(folder: Path, data: bytes) -> None:
    path = put(folder, data)
    before = path.stat()
    with pytest.raises(Conflict) as caught, edit(folder, "blog"):
        pytest.fail("the block must not run")
    assert caught.value.code == "METADATA_UNREADABLE"
    assert caught.value.status == 409
    assert path.read_bytes() == data
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("kind", ["folder", "fifo", "link out", "loop"])
def test_an_odd_file_is_refused(folder: Path, kind: str) -> None:
    path = folder / "service.yml"
    (folder.parent / "outside.yml").write_text("name: secret\n")
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("service.yml" if kind == "loop" else "../outside.yml")
    with pytest.raises(Conflict) as caught, edit(folder, "blog") as document:
        document["name"] = "x"
    assert caught.value.code == "METADATA_UNREADABLE"
    assert (folder.parent / "outside.yml").read_text() == "name: secret\n"


def test_a_link_inside_the_folder_stays_a_link(folder: Path) -> None:
    (folder / "conf").mkdir()
    (folder / "conf" / "real.yml").write_text("name: a\n")
    (folder / "service.yml").symlink_to("conf/real.yml")
    with edit(folder, "blog") as document:
        document["name"] = "b"
    assert (folder / "service.yml").is_symlink()
    assert (folder / "conf" / "real.yml").read_text() == "name: b\n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("networking", {"container_port": 0x1FFFF}),
        ("domains", "a"),
        ("name", "a\0b"),
        ("created_at", "never"),
    ],
)
def test_a_change_that_makes_it_wrong_is_refused(folder: Path, key: str, value: Any) -> None:
    path = put(folder, HAND_WRITTEN)
    with pytest.raises(Invalid), edit(folder, "blog") as document:
        document[key] = value
    assert path.read_text() == HAND_WRITTEN


def test_somebody_elses_change_is_not_overwritten(folder: Path) -> None:
    path = put(folder, "name: a\n")
    document = edit(folder, "blog")
    document.__enter__()["name"] = "b"
    put(folder, "name: by hand\n")
    with pytest.raises(Conflict):
        document.__exit__(None, None, None)
    assert path.read_text() == "name: by hand\n"


def test_somebody_elses_change_is_not_put_back(folder: Path) -> None:
    path = put(folder, "name: a\n")
    with pytest.raises(RuntimeError):
        change_and_fail(folder, RuntimeError(), "name: by hand\n")
    assert path.read_text() == "name: by hand\n"


def test_a_full_disk_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(folder, HAND_WRITTEN)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failed) as caught, edit(folder, "blog") as document:
        document["type"] = "x"
    assert caught.value.code == "STORAGE_FULL"
    assert path.read_text() == HAND_WRITTEN
    assert [entry.name for entry in folder.iterdir()] == ["service.yml"]


def test_reading_does_not_load_the_round_trip_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, flatrun_core; before = 'ruamel.yaml' in sys.modules\n"
        "import flatrun_deployments.discovery; print(before or 'ruamel.yaml' not in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


PRINTABLE = st.characters(
    codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff\ufffe\uffff"
)
TRICKY = ["2024-01-01", "yes", "22:22", "0o7", "~", "null", "1e3", " x", "a: b", "- a", "#", "'", "a\nb\n"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 40), 1 << 40)
    | st.text(PRINTABLE, max_size=20)
    | st.sampled_from(TRICKY),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=40,
)
@given(VALUES)
def test_whatever_is_set_is_read_back_and_the_rest_stays(tmp_path: Path, value: Any) -> None:
    folder = tmp_path / "blog"
    folder.mkdir(exist_ok=True)
    path = put(folder, HAND_WRITTEN)
    with edit(folder, "blog") as document:
        document["x-new"] = value
    text = path.read_text()
    assert read_yaml(text)["x-new"] == value
    assert {key: item for key, item in read_yaml(text).items() if key != "x-new"} == read_yaml(HAND_WRITTEN)
    with edit(folder, "blog") as document:
        del document["x-new"]
    assert read_yaml(path.read_text()) == read_yaml(HAND_WRITTEN)
    assert "# My blog, do not touch!" in path.read_text()


def test_adding_and_taking_away_again_gives_the_same_bytes(folder: Path) -> None:
    path = put(folder, HAND_WRITTEN)
    with edit(folder, "blog") as document:
        document["x-new"] = {"a": [1, 2]}
    with edit(folder, "blog") as document:
        del document["x-new"]
    assert path.read_text() == HAND_WRITTEN


def test_the_library_knows_the_ways_in(folder: Path) -> None:
    put(folder, "name: a\ntype: web\n")
    with edit(folder, "blog") as document:
        assert isinstance(document, service_document.ServiceDocument)
        assert list(document) == ["name", "type"]
        assert len(document) == 2
        assert document.get("nothing") is None
        assert document.setdefault("x", 1) == 1


def test_what_cannot_be_put_back_hides_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(folder, HAND_WRITTEN)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def change() -> None:
        with edit(folder, "blog") as document:
            document["type"] = "one"
            document.save()
            monkeypatch.setattr(os, "fsync", full)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert "type: one" in path.read_text()
