"""An account that the authority does not know any more is put aside, and lineages stop naming it."""

from pathlib import Path

import pytest

from flatrun_certificates.paths import Folders
from flatrun_certificates.repair import forget_account

DIRECTORY = "https://ca.example:14000/acme/dir"
CONF = "version = 5.8.0\ncert = /x/cert.pem\n[renewalparams]\naccount = {}\nserver = https://ca.example\n"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(config=tmp_path / "certs", webroot=tmp_path / "html")
    made.renewal.mkdir(parents=True)
    return made


def add_account(folders: Folders, name: str, server: str = "ca.example:14000/acme/dir") -> Path:
    place = folders.config / "accounts" / server / name
    place.mkdir(parents=True)
    (place / "private_key.json").write_text("{}")
    return place


def test_the_account_is_kept_aside_and_only_its_lineages_forget_it(folders: Folders) -> None:
    account = add_account(folders, "abc")
    other = add_account(folders, "def", "elsewhere.example/dir")
    ours, theirs = folders.renewal / "a.example.test.conf", folders.renewal / "b.example.test.conf"
    ours.write_text(CONF.format("abc"))
    theirs.write_text(CONF.format("def"))
    assert forget_account(folders, DIRECTORY)
    assert not account.exists()
    assert [path.read_text() for path in folders.own.glob("accounts/*/abc/private_key.json")] == ["{}"]
    assert ours.read_text() == CONF.format("abc").replace("account = abc\n", "")
    assert theirs.read_text() == CONF.format("def")
    assert other.exists()


@pytest.mark.parametrize("directory", [DIRECTORY, "https://nowhere.example/dir"])
def test_without_an_account_there_is_nothing_to_forget(folders: Folders, directory: str) -> None:
    add_account(folders, "def", "elsewhere.example/dir")
    assert not forget_account(folders, directory)
    assert not folders.own.exists()
