"""The panel's own keys: how they come to be, what they sign and encrypt, and that they are never lost."""

import base64
import errno
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import flatrun_core
from flatrun_core import key_files
from flatrun_core.app import create_app
from flatrun_core.encryption import PanelEncryption
from flatrun_core.errors import Failed
from flatrun_core.key_files import obtain
from flatrun_core.ports.secrets import ENCRYPTION, SIGNING
from flatrun_core.settings import SettingsSource
from flatrun_core.signing import PanelSigning

# Each process waits for its input to end, so that all of them begin together.
OBTAIN = """
import sys
from pathlib import Path
from flatrun_core.key_files import obtain
sys.stdin.read()
print(obtain(Path(sys.argv[1])).hex())
"""
SECRET = "correct horse battery staple, and then some more"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "signing.key"


@pytest.fixture
def obtaining() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(path: Path) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", OBTAIN, str(path)],
                env={**os.environ, "PYTHONPATH": str(Path(flatrun_core.__file__).parents[1])},
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def short(text: str) -> str:
    return ascii(text[:9])


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# --- the files ---


def test_a_key_is_made_once_and_only_its_owner_reads_it(path: Path) -> None:
    key = obtain(path)
    assert len(key) == 32
    assert obtain(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert names(path.parent) == ["signing.key"]


def test_a_generous_umask_does_not_open_the_file(path: Path) -> None:
    code = f"import os; os.umask(0); {OBTAIN}"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, stdin=subprocess.DEVNULL)
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_two_keys_are_the_same(tmp_path: Path) -> None:
    assert len({obtain(tmp_path / str(number)) for number in range(20)}) == 20


def test_processes_that_make_a_key_at_once_all_get_the_same(
    path: Path, obtaining: Callable[[Path], subprocess.Popen[str]]
) -> None:
    processes = [obtaining(path) for _ in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, answers
    assert {out.strip() for out, _ in answers} == {obtain(path).hex()}
    assert names(path.parent) == ["signing.key"]


def test_who_comes_second_takes_the_key_of_the_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = base64.urlsafe_b64encode(b"o" * 32)
    link = os.link

    def late(source: Any, target: Any) -> None:
        path.write_bytes(other)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert obtain(path) == b"o" * 32
    assert names(path.parent) == ["signing.key"]


def test_threads_that_make_a_key_at_once_all_get_the_same(path: Path) -> None:
    together = threading.Barrier(16)

    def one() -> bytes:
        together.wait(20)
        return obtain(path)

    with ThreadPoolExecutor(16) as pool:
        found = {future.result() for future in [pool.submit(one) for _ in range(16)]}
    assert len(found) == 1
    assert names(path.parent) == ["signing.key"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"short",
        base64.urlsafe_b64encode(b"x" * 31),
        base64.urlsafe_b64encode(b"x" * 33),
        base64.urlsafe_b64encode(b"x" * 32)[:-4],
        b"\0" * 44,
        b"\xff\xfe" + base64.urlsafe_b64encode(b"x" * 32),
        base64.urlsafe_b64encode(b"x" * 32)[:20] + b"\n" + base64.urlsafe_b64encode(b"x" * 32)[20:],
        base64.urlsafe_b64encode(b"x" * 32) * 2,
    ],
    ids=repr,
)
def test_a_damaged_file_is_refused_and_stays_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(Failed, match=r"signing\.key holds no key: put the right one back") as caught:
        obtain(path)
    assert caught.value.code == "KEY_UNREADABLE"
    assert str(path.parent) not in str(caught.value)
    assert path.read_bytes() == content
    assert names(path.parent) == ["signing.key"]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_full_disk_is_said_and_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        with pytest.raises(Failed, match=r"signing\.key cannot be used: No space left on device"):
            obtain(path)
        assert names(path.parent) == []
    assert len(obtain(path)) == 32


def test_a_folder_that_cannot_be_written_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/secret/place")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(Failed, match="cannot be used: Permission denied") as caught:
        obtain(path)
    assert "/secret/place" not in str(caught.value)


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    with pytest.raises(Failed, match="cannot be used") as caught:
        obtain(tmp_path / "state" / "signing.key")
    assert caught.value.code == "KEY_UNREADABLE"


def test_a_link_to_nowhere_is_not_replaced(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "unmounted" / "signing.key")
    with pytest.raises(Failed, match="cannot be used: No such file or directory"):
        obtain(path)
    assert path.is_symlink()
    assert names(path.parent) == ["signing.key"]


def test_the_name_is_on_the_disk_before_the_key_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(key_files, "sync_folder", synced.append)
    obtain(path)
    assert synced == [path.parent]


# --- signing ---


@pytest.fixture
def signing(tmp_path: Path) -> PanelSigning:
    return PanelSigning(lambda: "", tmp_path)


@pytest.mark.parametrize("value", ["text", 5, None, {"s": "abc", "n": [1, 2]}, "Zoë", "x" * 10_000])
def test_what_was_signed_is_read_again(signing: PanelSigning, value: Any) -> None:
    text = signing.sign("login", value)
    assert signing.read("login", text, max_age=60) == value
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_a_text_of_one_purpose_means_nothing_to_another(signing: PanelSigning) -> None:
    text = signing.sign("login", {"s": "abc"})
    assert signing.read("checkpoint", text) is None
    assert signing.read("login2", text) is None


def test_a_text_of_another_key_means_nothing(signing: PanelSigning, tmp_path: Path) -> None:
    other = PanelSigning(lambda: "", tmp_path / "other")
    assert signing.read("login", other.sign("login", "abc")) is None


def test_no_single_character_of_a_signed_text_can_be_changed(signing: PanelSigning) -> None:
    text = signing.sign("login", {"s": "abc"})
    # The last one carries bits that its encoding drops, so it is not tried.
    for place in range(len(text) - 1):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        assert signing.read("login", changed) is None, place


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b.c", "Zoë", "\0", "\ud800", "x" * 100_000, "." * 5000, "eyJzIjoxfQ"],
    ids=short,
)
def test_rubbish_is_none_and_no_error(signing: PanelSigning, text: str) -> None:
    assert signing.read("login", text) is None


def test_a_text_older_than_its_age_is_none(signing: PanelSigning, monkeypatch: pytest.MonkeyPatch) -> None:
    text = signing.sign("login", "abc")
    moment = signing._serializer("login").make_signer("x").get_timestamp()
    for later, expected in ((86_400, "abc"), (86_401, None)):
        monkeypatch.setattr("itsdangerous.timed.time.time", lambda later=later: moment + later)
        assert signing.read("login", text, max_age=86_400) == expected
    assert signing.read("login", text) == "abc"


def test_a_configured_key_is_used_and_no_file_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    first, second = (PanelSigning(lambda: SECRET, folder) for _ in range(2))
    assert second.read("login", first.sign("login", "abc")) == "abc"
    assert not folder.exists()
    assert PanelSigning(lambda: SECRET + "!", folder).read("login", first.sign("login", "abc")) is None


def test_nothing_is_read_or_made_before_the_first_use(tmp_path: Path) -> None:
    PanelSigning(lambda: "", tmp_path / "state")
    PanelEncryption("", tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_signatures_are_those_of_sha256(tmp_path: Path) -> None:
    text = PanelSigning(lambda: SECRET, tmp_path).sign("login", "abc")
    assert len(base64.urlsafe_b64decode(text.rpartition(".")[2] + "=")) == 32


# --- encryption ---


@pytest.fixture
def encryption(tmp_path: Path) -> PanelEncryption:
    return PanelEncryption("", tmp_path)


@pytest.mark.parametrize("text", ["", "secret", "Zoë 🔑", "x" * 100_000, "\0"], ids=short)
def test_what_was_encrypted_is_decrypted(encryption: PanelEncryption, text: str) -> None:
    kept = encryption.encrypt("credentials", text)
    assert encryption.decrypt("credentials", kept) == text
    assert kept.isascii()
    assert not text or text not in kept


def test_the_same_text_encrypts_differently_each_time(encryption: PanelEncryption) -> None:
    assert len({encryption.encrypt("totp", "secret") for _ in range(20)}) == 20


def test_each_purpose_has_a_key_of_its_own(encryption: PanelEncryption) -> None:
    kept = encryption.encrypt("totp", "secret")
    with pytest.raises(Failed) as caught:
        encryption.decrypt("credentials", kept)
    assert (caught.value.status, caught.value.code) == (500, "SECRET_UNREADABLE")


def test_a_lost_key_makes_the_secret_unreadable_and_says_so(
    encryption: PanelEncryption, tmp_path: Path
) -> None:
    kept = encryption.encrypt("totp", "secret")
    (tmp_path / "secret.key").unlink()
    with pytest.raises(Failed, match="not the one it was encrypted with"):
        PanelEncryption("", tmp_path).decrypt("totp", kept)


@pytest.mark.parametrize("place", [0, 10, 30, -20])
def test_a_changed_text_is_not_decrypted(encryption: PanelEncryption, place: int) -> None:
    kept = list(encryption.encrypt("totp", "secret"))
    kept[place] = "A" if kept[place] != "A" else "B"
    with pytest.raises(Failed):
        encryption.decrypt("totp", "".join(kept))


@pytest.mark.parametrize("kept", ["", "plain", "Zoë", "gAAAAA=="])
def test_what_was_never_encrypted_is_not_decrypted(encryption: PanelEncryption, kept: str) -> None:
    with pytest.raises(Failed):
        encryption.decrypt("totp", kept)


# --- in a panel ---


def test_a_panel_signs_and_encrypts_with_files_in_its_state_folder(
    flatrun_app: Callable[..., Flask], tmp_path: Path
) -> None:
    services = flatrun_app().extensions["flatrun"].services
    state = tmp_path / "deployments" / ".flatrun"
    assert not list(state.glob("*.key"))
    signed = services.get(SIGNING).sign("login", "abc")
    kept = services.get(ENCRYPTION).encrypt("totp", "secret")
    assert sorted(file.name for file in state.glob("*.key")) == ["secret.key", "signing.key"]
    assert (state / "secret.key").read_bytes() != (state / "signing.key").read_bytes()
    again = flatrun_app().extensions["flatrun"].services
    assert again.get(SIGNING).read("login", signed) == "abc"
    assert again.get(ENCRYPTION).decrypt("totp", kept) == "secret"


def test_the_environment_names_the_keys_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"FLATRUN_SECRET_KEY": SECRET, "FLATRUN_AUTH__SECRET_KEY": SECRET}
    source = SettingsSource.read(None, environ, {"deployments_path": str(tmp_path)})
    panel = create_app(source, plugins=[], strict=True).extensions["flatrun"]
    try:
        panel.services.get(SIGNING).sign("login", "abc")
        kept = panel.services.get(ENCRYPTION).encrypt("totp", "secret")
    finally:
        panel.database.close()
    assert not list(tmp_path.rglob("*.key"))
    assert PanelEncryption(SECRET, tmp_path).decrypt("totp", kept) == "secret"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert panel.settings.snapshot.warnings == ()
