"""Long files that are changed again and again: remembering the last one changes no byte."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatrun_deployments import service_document
from flatrun_deployments.service_document import KeptDocuments
from flatrun_deployments.service_yml import edit
from flatrun_deployments.text_pieces import Pieces

LONG = "name: Blog\ndomains:\n" + "".join(
    f"  - id: d{number}\n    domain: d{number}.example.com\n    aliases: ['w{number}.example.com']\n"
    for number in range(100)
)
COMMENTED = (
    "# mine\n" + LONG.replace("    domain: d7.", "    # the seventh\n    domain:   d7.") + "x-own: [1,2]\n"
)
values = st.one_of(
    st.text(max_size=8).filter(lambda text: text.isprintable()), st.integers(), st.booleans(), st.none()
)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), values),
        st.tuples(st.just("drop"), st.integers(0, 50)),
        st.tuples(st.just("set"), values),
        st.tuples(st.just("fail"), values),
        st.tuples(st.just("hand"), st.sampled_from(["# by hand\n", "x-more: yes\n"])),
    ),
    max_size=5,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog/service.yml").write_text(LONG)
    return tmp_path / "blog"


def apply(folder: Path, what: str, value: Any, kept: KeptDocuments | None) -> None:
    file = folder / "service.yml"
    if what == "hand":
        text = file.read_text().removesuffix("\n") + "\n"
        file.write_text(text + value.replace("x-more", f"x-more-{len(text)}"))
        return
    try:
        with edit(folder, "blog", kept) as document:
            if what == "add":
                document["domains"].append({"id": f"n{len(document['domains'])}", "x-value": value})
            elif what == "drop":
                del document["domains"][value % len(document["domains"])]
            else:
                document["x-value"] = value
            document.save()
            if what == "fail":
                raise LookupError
    except LookupError:
        return


@pytest.mark.parametrize("text", [LONG, COMMENTED, LONG.replace("\n", "\r\n"), "﻿" + LONG, LONG[:-1]])
@given(steps=changes)
@settings(max_examples=8, deadline=None)
def test_every_file_is_the_same_with_and_without_it(
    text: str, steps: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain, remembering = (tmp_path_factory.mktemp("pair") for _ in range(2))
    kept = KeptDocuments()
    for folder in (plain, remembering):
        (folder / "service.yml").write_bytes(text.encode())
    for what, value in steps:
        apply(plain, what, value, None)
        apply(remembering, what, value, kept)
        assert (remembering / "service.yml").read_bytes() == (plain / "service.yml").read_bytes()


def test_a_long_file_is_read_once_for_many_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    read = service_document._Text.load

    def counted(text: Any) -> Any:
        loads.append(text)
        return read(text)

    monkeypatch.setattr(service_document._Text, "load", counted)
    kept = KeptDocuments()
    for number in range(5):
        apply(folder, "add", number, kept)
    assert len(loads) <= 2
    (folder / "service.yml").write_text(LONG)
    apply(folder, "add", 1, kept)
    assert "n100" in (folder / "service.yml").read_text()
    assert "n101" not in (folder / "service.yml").read_text()


def test_what_a_failed_change_left_in_memory_is_not_used(folder: Path) -> None:
    kept = KeptDocuments()
    apply(folder, "set", "kept", kept)
    before = (folder / "service.yml").read_bytes()
    apply(folder, "fail", "never", kept)
    assert (folder / "service.yml").read_bytes() == before
    apply(folder, "add", 1, kept)
    assert "never" not in (folder / "service.yml").read_text()


def test_only_so_many_documents_are_remembered(tmp_path: Path) -> None:
    kept = KeptDocuments()
    for number in range(40):
        folder = tmp_path / f"d{number}"
        folder.mkdir()
        (folder / "service.yml").write_text(LONG)
        apply(folder, "set", 1, kept)
    assert len(kept._documents) <= 16


def test_what_is_added_to_a_long_file_is_written_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptDocuments()
    apply(folder, "add", 0, kept)
    written = []
    write = service_document._Text.dump

    def noted(text: Any, data: Any) -> str:
        written.append({key: len(value) for key, value in data.items()})
        return write(text, data)

    monkeypatch.setattr(service_document._Text, "dump", noted)
    apply(folder, "add", 1, kept)
    assert written == [{"domains": 1}]
    assert "n101" in (folder / "service.yml").read_text()


@pytest.mark.parametrize("text", ["# a comment\n", "\n", "x-a: &a {b: 1}\n", "x-a: !tag b\n"])
def test_what_belongs_to_more_than_one_piece_is_written_as_a_whole(text: str) -> None:
    assert Pieces.of(f"name: blog\n{text}", {"name": "blog", **({"x-a": 1} if "x-a" in text else {})}) is None
