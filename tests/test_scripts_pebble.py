"""Where the scripts get pebble from, the ACME authority of the end-to-end tests."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts/lib"))

from flatrun_scripts import next_release, packages, pebble
from flatrun_scripts.shell import ScriptError

NEXT = ["-o", "next release"]


class Archive:
    """An archive whose package holds `names`; it notes with which options it was asked."""

    def __init__(self, version: str, names: Sequence[str] = pebble.PROGRAMS) -> None:
        self.version, self.names = version, names
        self.asked: list[Sequence[str]] = []

    def download(self, package: str, target: Path, options: Sequence[str] = ()) -> Path:
        self.asked.append(options)
        folder = target / package / "usr/bin"
        folder.mkdir(parents=True)
        for name in self.names:
            (folder / name).write_text(name)
        return target / package


def use(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "candidate", lambda _: archive.version)
    monkeypatch.setattr(packages, "download", archive.download)
    monkeypatch.setattr(next_release, "apt_options", lambda _: NEXT)


@pytest.mark.parametrize(
    ("version", "options"),
    [
        ("", NEXT),
        ("2.4.0+ds1-2+b4", NEXT),
        ("rubbish", NEXT),
        ("2.5.1-1", []),
        ("2.6.0+ds1-1+b7", []),
        ("3.0", []),
    ],
)
def test_a_release_that_is_too_old_gives_way_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, options: list[str]
) -> None:
    archive = Archive(version)
    use(archive, monkeypatch)
    folder = pebble.programs(tmp_path / "cache")
    assert sorted(path.name for path in folder.iterdir()) == sorted(pebble.PROGRAMS)
    assert archive.asked == [options]
    assert pebble.programs(tmp_path / "cache") == folder
    assert len(archive.asked) == 1


def test_a_package_without_the_programs_stops_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Archive("2.6.0", ["pebble"]), monkeypatch)
    with pytest.raises(ScriptError, match="holds no pebble and no pebble-challtestsrv"):
        pebble.programs(tmp_path / "cache")
    assert pebble.present(tmp_path / "cache") is None
