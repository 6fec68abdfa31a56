"""What certbot keeps is made such that it can work again: damaged lineages, forgotten accounts."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flatrun_certificates import remains
from flatrun_certificates.lineages import Lineage, read_lineage, version_files, versions
from flatrun_certificates.paths import Folders
from flatrun_core.db import now

log = logging.getLogger(__name__)

_KINDS: Final = ("cert", "chain", "fullchain", "privkey")
_DAMAGED: Final = ".damaged"


def repair(folders: Folders, name: str) -> None:
    """Set a damaged lineage back to its newest sound version; without one put it aside.

    Nothing is deleted: damaged files stay under another name. Sound lineages, and folders that
    certbot does not know, are left alone. Raises ``OSError``.
    """
    if not (folders.live / name).is_dir() or not (folders.renewal / f"{name}.conf").exists():
        return
    lineage = read_lineage(folders, name)
    if not lineage.problem:
        return
    if lineage.leaf is None:
        remains.put_aside(folders, name)
        return
    _set_back(folders, lineage)


def forget_account(folders: Folders, directory: str) -> bool:
    """Put aside the account at an authority that does not know it any more; False when there is none.

    Lineages stop naming it, so that they are renewed by the account that comes next. Raises ``OSError``.
    """
    parts = urlsplit(directory)
    place = folders.config / "accounts" / f"{parts.netloc}{parts.path}"
    names = [path.name for path in place.iterdir() if path.is_dir()] if place.is_dir() else []
    if not names:
        return False
    aside = folders.own / "accounts" / f"{now():%Y%m%dT%H%M%S%fZ}"
    aside.mkdir(mode=0o700, parents=True)
    for name in names:
        (place / name).rename(aside / name)
    for path in folders.renewal.glob("*.conf"):
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True)
        kept = [line for line in lines if not _names_account(line, names)]
        if kept != lines:
            fresh = path.with_suffix(".new")
            fresh.write_text("".join(kept), encoding="utf-8", errors="surrogateescape")
            fresh.replace(path)
    log.warning("the authority at %s does not know the account; it is put aside in %s", directory, aside)
    return True


def _names_account(line: str, names: Sequence[str]) -> bool:
    key, _, value = line.partition("=")
    return key.strip() == "account" and value.strip() in names


def _set_back(folders: Folders, lineage: Lineage) -> None:
    archive = folders.archive / lineage.name
    kept = next(version for version in versions(archive) if version_files(archive, version) == lineage.files)
    for version in versions(archive):
        for kind in _KINDS if version > kept else ():
            path = archive / f"{kind}{version}.pem"
            if path.exists():
                path.rename(path.with_name(path.name + _DAMAGED))
    for kind in _KINDS:
        _link(folders.live / lineage.name / f"{kind}.pem", archive / f"{kind}{kept}.pem")
    log.warning(
        "the certificate '%s' was damaged (%s) and is set back to version %d",
        lineage.name,
        lineage.problem,
        kept,
    )


def _link(link: Path, target: Path) -> None:
    fresh = link.with_name(link.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.rename(link)
