"""One lineage on the disk: its newest files, or the newest sound ones before them."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flatrun_certificates.paths import Folders
from flatrun_certificates.pem import Leaf, PemProblem, read_pair

_VERSION: Final = re.compile(r"fullchain([1-9][0-9]{0,8})\.pem")
_LARGEST: Final = 1 << 20  # bytes; no certificate comes near
_SERVER: Final = re.compile(r"^server\s*=\s*(\S+)\s*$", re.MULTILINE)
_WEBROOT: Final = re.compile(r"^(?:webroot_path|\S+)\s*=\s*(/[^,\n]*?),?\s*$", re.MULTILINE)
_AUTHENTICATOR: Final = re.compile(r"^authenticator\s*=\s*(\S+)\s*$", re.MULTILINE)
_STAGING: Final = re.compile(r"\(STAGING\)|acme-staging", re.IGNORECASE)

ENABLED: Final = ".flatrun-auto-renew-enabled"
DISABLED: Final = ".flatrun-auto-renew-disabled"

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files that belong together."""

    leaf: Path
    chain: Path
    key: Path
    issuers: Path


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a folder below ``live`` holds.

    ``leaf`` is None when nothing in it can be used, and ``problem`` says what is wrong with the
    newest files, empty for nothing. ``marker`` is True or False where the certificate's own setting
    of renewal says so. ``server`` and ``authenticator`` are how certbot got it, empty where it did
    not, and ``webroots`` the folders that it names. ``seen`` are the files that were looked at, as they
    were. ``own_signed`` is a certificate signed by itself that nobody got: there is none to ask for another.
    """

    name: str
    files: Files
    leaf: Leaf | None
    problem: str
    staging: bool
    marker: bool | None
    server: str
    authenticator: str
    webroots: tuple[str, ...]
    seen: tuple[tuple[str, Stamp], ...]
    own_signed: bool = False

    def unchanged(self) -> bool:
        """Whether every file that was looked at is still the same; reads none."""
        return all(stamp(path) == was for path, was in self.seen)


def stamp(path: Path | str) -> Stamp:
    """What tells a file from a changed one: inode, size and time; None when it is not there."""
    try:
        # By the module's function: pathlib takes as long again, and a panel looks at thousands.
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def read_lineage(folders: Folders, name: str) -> Lineage:
    """Read a lineage; never raises for what is wrong in it."""
    looked = _Looked()
    files = _live(folders.live / name)
    leaf, problem = looked.read(files)
    if leaf is None:
        files, leaf = _earlier(folders.archive / name, files, looked)
    marker = _marker(folders.live / name, looked)
    conf = folders.renewal / f"{name}.conf"
    how = looked.text(conf)
    server = _named(_SERVER, how)
    return Lineage(
        name=name,
        files=files,
        leaf=leaf,
        problem=problem,
        staging=bool(_STAGING.search(f"{leaf.issuer if leaf else ''} {server}")),
        marker=marker,
        server=server,
        authenticator=_named(_AUTHENTICATOR, how),
        webroots=tuple(dict.fromkeys(_WEBROOT.findall(how.partition("authenticator")[2]))),
        seen=tuple(looked.stamps.items()),
        own_signed=leaf is not None and leaf.self_signed and looked.stamps[str(conf)] is None,
    )


def versions(archive: Path) -> Sequence[int]:
    """The versions of a lineage, newest first."""
    try:
        found = [_VERSION.fullmatch(path.name) for path in archive.iterdir()]
    except OSError:
        return ()
    return sorted((int(match[1]) for match in found if match), reverse=True)


def version_files(archive: Path, version: int) -> Files:
    """The files of one version."""
    return Files(*(archive / f"{kind}{version}.pem" for kind in ("cert", "fullchain", "privkey", "chain")))


def _live(folder: Path) -> Files:
    return Files(*(folder / f"{kind}.pem" for kind in ("cert", "fullchain", "privkey", "chain")))


class _Looked:
    """Reads files and keeps how they were before."""

    def __init__(self) -> None:
        self.stamps: dict[str, Stamp] = {}

    def read(self, files: Files) -> tuple[Leaf | None, str]:
        """The leaf, or what is wrong."""
        try:
            leaf, chain, key = (self._bytes(path) for path in (files.leaf, files.chain, files.key))
            return read_pair(leaf, chain, key, self._optional(files.issuers)), ""
        except PemProblem as exc:
            return None, str(exc)

    def text(self, path: Path) -> str:
        """A text, empty when it cannot be read."""
        return self._optional(path).decode("utf-8", "replace")

    def exists(self, path: Path) -> bool:
        """Whether a file is there."""
        found = self.stamps[str(path)] = stamp(path)
        return found is not None

    def _optional(self, path: Path) -> bytes:
        try:
            return self._bytes(path)
        except PemProblem:
            return b""

    def _bytes(self, path: Path) -> bytes:
        self.stamps[str(path)] = stamp(path)
        return _content(path)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(min(os.fstat(file.fileno()).st_size, _LARGEST))
    except OSError as exc:
        reason = "is missing" if isinstance(exc, FileNotFoundError) else f"cannot be read: {exc.strerror}"
        raise PemProblem(f"{path.name} {reason}") from exc


def _earlier(archive: Path, newest: Files, looked: _Looked) -> tuple[Files, Leaf | None]:
    looked.exists(archive)
    for version in versions(archive):
        files = version_files(archive, version)
        leaf, _ = looked.read(files)
        if leaf is not None:
            return files, leaf
    return newest, None


def _marker(folder: Path, looked: _Looked) -> bool | None:
    # Both come and go with the folder's own time.
    looked.exists(folder)
    if (folder / DISABLED).exists():
        return False
    return True if (folder / ENABLED).exists() else None


def _named(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""
