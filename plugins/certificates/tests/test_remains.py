"""Whatever is left of a lineage is in nobody's way: not of a deletion, and not of the next certificate."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certbot.configuration import NamespaceConfig

from flatrun_certificates import remains
from flatrun_certificates.certbot import CertbotIssuer
from flatrun_certificates.errors import NotIssued
from flatrun_certificates.issuers import ISSUERS
from flatrun_certificates.paths import Folders
from flatrun_certificates.settings import CertbotSettings
from flatrun_core.ports.certificates import CertificateRequest
from flatrun_core.ports.programs import Completed
from flatrun_core.testing.programs import RecordingPrograms

NAME = "a.example.com"
MARK = ".flatrun-auto-renew-disabled"


class Certbot(RecordingPrograms):
    """A program that writes and deletes lineages as certbot does, and stumbles over what it stumbles over."""

    def __init__(self, lineages: Any) -> None:
        super().__init__()
        self.lineages = lineages
        self.during: Callable[[], None] = lambda: None
        self.refuses = False
        self.number = ""

    def run(self, args: Any, **options: Any) -> Completed:
        super().run(args, **options)
        words = list(args[4:])
        name = next(word.partition("=")[2] for word in words if word.startswith("--cert-name="))
        hosts = [word.partition("=")[2] for word in words if word.startswith("--domains=")]
        self.during()
        text = self._delete(name) if words[0] == "delete" else self._issue(name, hosts or [name])
        return Completed(tuple(args), 1 if text else 0, text, text)

    def _issue(self, name: str, hosts: list[str]) -> str:
        name += self.number
        if self.refuses:
            return "the authority refuses"
        config = self.lineages.config
        if not (config / "renewal" / f"{name}.conf").exists():
            for folder in (config / "archive" / name, config / "live" / name):
                if folder.exists():
                    return f"{folder.parent.name} directory exists for {name}"
        elif not (config / "renewal" / f"{name}.conf").read_text():
            return f"renewal config file {name} is damaged"
        self.lineages.add(name, hosts)
        return ""

    def _delete(self, name: str) -> str:
        config = self.lineages.config
        (config / "renewal" / f"{name}.conf").unlink()
        for path in (config / "live" / name).glob("*.pem"):
            path.unlink()
        if not list((config / "live" / name).iterdir()):
            (config / "live" / name).rmdir()
        shutil.rmtree(config / "archive" / name)
        return ""


@pytest.fixture
def certbot(lineages: Any) -> Certbot:
    return Certbot(lineages)


@pytest.fixture
def folders(lineages: Any, tmp_path: Path) -> Folders:
    return Folders(lineages.config, tmp_path / "html")


@pytest.fixture
def issuer(certbot: Certbot, folders: Folders) -> CertbotIssuer:
    settings = CertbotSettings(email="admin@example.com")
    return CertbotIssuer(lambda: certbot, lambda: folders, lambda: settings, lambda: None, lambda _: None)


REQUEST = CertificateRequest(NAME, (NAME,))


def live_only(lineages: Any) -> None:
    (lineages.live / NAME).mkdir(parents=True)
    (lineages.live / NAME / MARK).touch()


def broken(text: bytes) -> Callable[[Any], None]:
    def spoil(lineages: Any) -> None:
        lineages.add(NAME)
        (lineages.config / "renewal" / f"{NAME}.conf").write_bytes(text)

    return spoil


def conf_only(lineages: Any) -> None:
    (lineages.config / "renewal").mkdir(parents=True)
    (lineages.config / "renewal" / f"{NAME}.conf").touch()


def archive_only(lineages: Any) -> None:
    lineages.add(NAME)
    shutil.rmtree(lineages.live / NAME)
    (lineages.config / "renewal" / f"{NAME}.conf").unlink()


def without_live(lineages: Any) -> None:
    lineages.add(NAME)
    shutil.rmtree(lineages.live / NAME)


def without_conf(lineages: Any) -> None:
    lineages.add(NAME)
    (lineages.config / "renewal" / f"{NAME}.conf").unlink()


def without_archive(lineages: Any) -> None:
    lineages.add(NAME)
    shutil.rmtree(lineages.config / "archive" / NAME)


def by_hand(lineages: Any) -> None:
    lineages.add(NAME)
    folder = lineages.live / NAME
    for path in folder.glob("*.pem"):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    shutil.rmtree(lineages.config / "archive" / NAME)
    (lineages.config / "renewal" / f"{NAME}.conf").unlink()


def moved(lineages: Any) -> None:
    lineages.add(NAME)
    conf = lineages.config / "renewal" / f"{NAME}.conf"
    conf.write_text(conf.read_text().replace(str(lineages.config), "/srv/elsewhere"))


def dangling(lineages: Any) -> None:
    lineages.add(NAME)
    (lineages.live / NAME / "chain.pem").unlink()
    (lineages.live / NAME / "chain.pem").symlink_to("nowhere.pem")


REMAINS: dict[str, Callable[[Any], None]] = {
    "a folder with a mark": live_only,
    "an empty file of renewal": broken(b""),
    "a file of renewal that is cut": broken(b"version = 5.8.0\ncert = /x/cer"),
    "a file of renewal that is no text": broken(b"\xff\xfe\x00[[["),
    "a file of renewal alone": conf_only,
    "an archive alone": archive_only,
    "no live folder": without_live,
    "no file of renewal": without_conf,
    "no archive": without_archive,
    "files by hand": by_hand,
    "a folder that was moved": moved,
    "a link that leads nowhere": dangling,
}
USABLE = ("an empty file of renewal", "no file of renewal", "files by hand", "a folder that was moved")


@pytest.mark.parametrize("what", REMAINS)
def test_remains_are_put_aside_and_the_certificate_is_had(
    what: str, issuer: CertbotIssuer, folders: Folders, lineages: Any, caplog: pytest.LogCaptureFixture
) -> None:
    REMAINS[what](lineages)
    assert issuer.issue(REQUEST).name == NAME
    assert remains.is_whole(folders, NAME)
    assert [path.name for path in lineages.live.iterdir()] == [NAME]
    if what != "a link that leads nowhere":
        assert list((folders.own / "damaged").iterdir())
        assert "put aside in" in caplog.text


@pytest.mark.parametrize("what", REMAINS)
def test_whatever_is_left_of_a_lineage_is_deleted_as_a_whole(
    what: str, issuer: CertbotIssuer, folders: Folders, lineages: Any
) -> None:
    REMAINS[what](lineages)
    issuer.delete(NAME)
    assert [path for path in remains.places(folders, NAME).values() if os.path.lexists(path)] == []
    assert issuer.issue(REQUEST).name == NAME


@pytest.mark.parametrize("what", USABLE)
def test_a_certificate_that_can_be_used_is_served_meanwhile_and_back_when_nothing_comes_of_it(
    what: str, issuer: CertbotIssuer, certbot: Certbot, folders: Folders, lineages: Any
) -> None:
    REMAINS[what](lineages)
    before = (lineages.live / NAME / "fullchain.pem").read_bytes()
    seen: list[bytes] = []

    def look() -> None:
        seen.extend(path.read_bytes() for path in lineages.live.glob("[!.]*/fullchain.pem"))

    certbot.during, certbot.refuses = look, True
    with pytest.raises(NotIssued):
        issuer.issue(REQUEST)
    assert seen == [before]
    assert [path.name for path in lineages.live.iterdir()] == [NAME]
    assert (lineages.live / NAME / "fullchain.pem").read_bytes() == before
    assert list((folders.own / "damaged").iterdir()) == []


def test_certbot_takes_the_lineages_of_these_tests_for_its_own(lineages: Any, folders: Folders) -> None:
    # What is_whole says is what certbot's own reader says.
    from certbot._internal.storage import RenewableCert

    lineages.add(NAME)
    conf = lineages.config / "renewal" / f"{NAME}.conf"

    class Options:
        config_dir = str(lineages.config)
        work_dir = logs_dir = str(lineages.config)
        http01_port, https_port, domains = 80, 443, ()

    RenewableCert(str(conf), NamespaceConfig(Options()))  # type: ignore[arg-type]
    assert remains.is_whole(folders, NAME)


def test_a_sound_lineage_is_left_where_it_is(issuer: CertbotIssuer, folders: Folders, lineages: Any) -> None:
    lineages.add(NAME)
    issuer.issue(REQUEST)
    assert lineages.newest(NAME) == 2
    assert not (folders.own / "damaged").exists()


@pytest.mark.parametrize(
    "what", ["an empty file of renewal", "no file of renewal", "a folder that was moved"]
)
def test_renewing_a_certificate_whose_file_of_renewal_is_lost_asks_anew(
    what: str, issuer: CertbotIssuer, certbot: Certbot, folders: Folders, lineages: Any
) -> None:
    REMAINS[what](lineages)
    issuer.renew(NAME, force=True)
    assert certbot.calls[-1].args[4] == "certonly"
    assert remains.is_whole(folders, NAME)


def test_a_certificate_that_certbot_numbers_is_found(
    issuer: CertbotIssuer, certbot: Certbot, lineages: Any
) -> None:
    lineages.add(NAME)
    certbot.number = "-0001"
    assert issuer.issue(REQUEST).name == f"{NAME}-0001"
    lineages.add(f"{NAME}-extra")
    certbot.number = "-0002"
    assert issuer.issue(REQUEST).name == f"{NAME}-0002"


@pytest.fixture
def panel(make_bench: Any) -> Any:
    """A panel with the real issuer, whose program is the one above; `program` is on it."""
    bench = make_bench({"certificates.issuer": "certbot"})
    bench.proxy.http = (("127.0.0.1", 9),)
    bench.program = Certbot(bench.lineages)
    bench.service(ISSUERS).current()._programs = lambda: bench.program
    return bench


@pytest.mark.parametrize("wanted", [True, False])
def test_a_marked_certificate_is_deleted_and_had_again(panel: Any, wanted: bool) -> None:
    for _ in range(2):
        assert panel.admin.post("/api/certificates", json={"domain": NAME}).status_code == 201
        path = f"/api/certificates/{NAME}"
        marked = panel.admin.open("PATCH", f"{path}/auto-renew", json={"auto_renew": wanted})
        assert marked.status_code == 200
        assert panel.admin.delete(path).status_code == 200
        assert panel.admin.get(path).status_code == 404
        assert panel.admin.delete(path).status_code == 404
        assert not (panel.lineages.live / NAME).exists()


def test_a_marked_certificate_of_a_deleted_deployment_leaves_nothing(panel: Any) -> None:
    for name in (NAME, "b.example.com"):
        live = panel.lineages.add(name)
        (live / MARK).touch()
    (panel.lineages.live / "b.example.com" / "privkey.pem").resolve().write_text("")
    assert panel.certificates.release([NAME, "b.example.com"]) == [NAME, "b.example.com"]
    for part in ("live", "archive", "renewal"):
        assert list((panel.lineages.config / part).iterdir()) == []


def test_a_certificate_that_certbot_numbered_is_shown_and_kept(panel: Any) -> None:
    panel.program.number = "-0001"
    for _ in range(2):
        answer = panel.admin.post("/api/certificates", json={"domain": NAME})
        assert answer.status_code == 201, answer.get_json()
    assert list(panel.listed()) == [f"{NAME}-0001"]
    assert len(panel.program.calls) == 1
    assert panel.certificates.lookup([NAME]).name == f"{NAME}-0001"


@pytest.mark.parametrize("what", REMAINS)
def test_remains_are_not_shown_and_deleting_them_is_no_error(panel: Any, what: str) -> None:
    REMAINS[what](panel.lineages)
    path = f"/api/certificates/{NAME}"
    assert panel.admin.get(path).status_code in (200, 404)
    assert panel.admin.delete(path).status_code in (200, 404)
    assert panel.admin.get(path).status_code == 404
    assert panel.admin.delete(path).status_code == 404
    assert panel.admin.post("/api/certificates", json={"domain": NAME}).status_code == 201
    assert panel.admin.get(path).status_code == 200
