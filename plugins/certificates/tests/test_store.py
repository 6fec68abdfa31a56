"""Lineages on the disk: found, believed while they stay the same, and mended where they are damaged."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_certificates import lineages as lineages_module
from flatrun_certificates.lineages import read_lineage
from flatrun_certificates.paths import Folders
from flatrun_certificates.store import Store
from flatrun_core import Failed
from flatrun_core.ports.certificates import Certificate


@pytest.fixture
def folders(lineages: Any, tmp_path: Path) -> Folders:
    return Folders(lineages.config, tmp_path / "html")


@pytest.fixture
def store(folders: Folders) -> Store:
    return Store(lambda: folders, lambda: True, lambda: datetime.now(UTC))


def test_no_folder_holds_no_certificates(store: Store) -> None:
    assert store.all() == []
    assert store.lookup(["a.example.com"]) is None
    assert store.lookup([]) is None


def test_a_folder_that_cannot_be_read_is_said(store: Store, folders: Folders) -> None:
    folders.config.mkdir(parents=True)
    folders.live.write_text("no folder")
    with pytest.raises(Failed, match="cannot be read"):
        store.all()


def test_one_that_covers_everything_comes_before_one_that_ends_later(store: Store, lineages: Any) -> None:
    lineages.add("both", ["a.example.com", "www.a.example.com"], lifetime=timedelta(days=30))
    lineages.add("one", ["a.example.com"], lifetime=timedelta(days=90))
    found = store.lookup(["a.example.com", "www.a.example.com"])
    assert found is not None
    assert found.name == "both"
    alone = store.lookup(["a.example.com", "other.example.com"])
    assert alone is not None
    assert alone.name == "one"


def test_one_that_is_over_is_used_only_when_there_is_no_other(store: Store, lineages: Any) -> None:
    lineages.add("over", ["a.example.com", "b.example.com"], age=timedelta(days=100))
    found = store.lookup(["a.example.com", "b.example.com"])
    assert found is not None
    assert found.name == "over"
    lineages.add("good", ["a.example.com"])
    found = store.lookup(["a.example.com", "b.example.com"])
    assert found is not None
    assert found.name == "good"


def test_a_wildcard_stands_for_one_label(store: Store, lineages: Any) -> None:
    lineages.add("_wildcard.example.com", ["*.example.com"])
    assert store.lookup(["a.example.com"]) is not None
    assert store.lookup(["a.b.example.com"]) is None
    assert store.lookup(["example.com"]) is None


def test_a_new_certificate_is_seen_at_once(store: Store, lineages: Any) -> None:
    lineages.add("a.example.com")
    before = store.lookup(["a.example.com"])
    lineages.add("a.example.com")
    after = store.lookup(["a.example.com"])
    assert before is not None
    assert after is not None
    assert before.fingerprint != after.fingerprint
    lineages.add("b.example.com")
    assert store.lookup(["b.example.com"]) is not None


def test_nothing_is_read_again_while_files_stay_the_same(
    store: Store, lineages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        lineages.add(f"{number}.example.com")
    first = store.all()
    opened: list[Path] = []
    monkeypatch.setattr(lineages_module, "_content", opened.append)
    for number in range(5):
        assert store.lookup([f"{number}.example.com"]) in first
    store.forget()
    assert store.all() == first
    assert opened == []


@pytest.mark.parametrize("kind", ["cert", "fullchain", "privkey"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "dangling"])
def test_a_damaged_lineage_falls_back_to_its_newest_sound_version(
    store: Store, lineages: Any, kind: str, damage: str
) -> None:
    lineages.add("other.example.com")
    lineages.add("a.example.com")
    before = store.lookup(["a.example.com"])
    live = lineages.add("a.example.com")
    newest = (live / f"{kind}.pem").resolve()
    damages: dict[str, Callable[[], Any]] = {
        "cut": lambda: os.truncate(newest, newest.stat().st_size // 2),
        "empty": lambda: os.truncate(newest, 0),
        "missing": (live / f"{kind}.pem").unlink,
        "dangling": newest.unlink,
    }
    damages[damage]()
    found = store.lookup(["a.example.com"])
    assert found is not None
    assert before is not None
    if damage == "missing":
        assert found.chain.name == "fullchain2.pem"
    else:
        assert found.fingerprint == before.fingerprint
        assert found.chain == lineages.config / "archive" / "a.example.com" / "fullchain1.pem"
    lineage = store.lineage("a.example.com")
    assert lineage is not None
    assert lineage.problem
    assert store.lookup(["other.example.com"]) is not None


def test_without_a_sound_version_there_is_none_and_the_others_stay(store: Store, lineages: Any) -> None:
    lineages.add("other.example.com")
    live = lineages.add("a.example.com")
    os.truncate((live / "privkey.pem").resolve(), 40)
    assert store.lookup(["a.example.com"]) is None
    assert [one.name for one in store.all()] == ["other.example.com"]
    assert [one.name for one in store.lineages()] == ["a.example.com", "other.example.com"]


def test_a_mended_file_is_used_again(store: Store, lineages: Any) -> None:
    live = lineages.add("a.example.com")
    path = (live / "fullchain.pem").resolve()
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert store.lookup(["a.example.com"]) is None
    path.write_bytes(whole)
    assert store.lookup(["a.example.com"]) is not None


def test_folders_that_hold_no_certificate_are_no_obstacle(store: Store, lineages: Any) -> None:
    lineages.add("a.example.com")
    (lineages.live / "README").write_text("hello")
    (lineages.live / "empty").mkdir()
    (lineages.live / ".hidden").mkdir()
    assert [one.name for one in store.all()] == ["a.example.com"]


def test_files_put_there_by_hand_are_used(store: Store, lineages: Any, maker: Any) -> None:
    folder = lineages.live / "by-hand"
    folder.mkdir(parents=True)
    for kind, data in maker.files(["a.example.com"]).items():
        if kind != "chain":
            (folder / f"{kind}.pem").write_bytes(data)
    found = store.lookup(["a.example.com"])
    assert found is not None
    assert (found.name, found.staging) == ("by-hand", False)


def test_the_test_directory_is_known_by_how_it_was_had(folders: Folders, lineages: Any) -> None:
    lineages.add("a", ["a.example.com"], server="https://acme-staging-v02.api.letsencrypt.org/directory")
    lineages.add("b", ["b.example.com"])
    assert read_lineage(folders, "a").staging is True
    assert read_lineage(folders, "b").staging is False
    assert read_lineage(folders, "b").server == "https://authority.test/dir"


LABEL = st.text("abc", min_size=1, max_size=2)
HOST = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
NAME = HOST | HOST.map(lambda host: f"*.{host}")


@given(domains=st.lists(NAME, min_size=1, max_size=4), hosts=st.lists(HOST, min_size=1, max_size=3))
def test_a_certificate_covers_what_a_browser_says_it_does(domains: list[str], hosts: list[str]) -> None:
    moment = datetime.now(UTC)
    path = Path("/none")
    certificate = Certificate("n", tuple(domains), "i", moment, moment, path, path, path, "f")

    def matches(host: str, name: str) -> bool:
        labels, wanted = host.split("."), name.split(".")
        return len(labels) == len(wanted) and all(
            w in ("*", label) for label, w in zip(labels, wanted, strict=True)
        )

    expected = all(any(matches(host, name) for name in domains) for host in hosts)
    assert certificate.covers(hosts) is expected
