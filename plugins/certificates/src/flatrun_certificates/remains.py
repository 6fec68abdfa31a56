"""What certbot cannot work with and would stumble over is out of its way while it runs."""

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import configobj  # type: ignore[import-untyped]

from flatrun_certificates.lineages import DISABLED, Lineage, Stamp, read_lineage, stamp
from flatrun_certificates.paths import Folders
from flatrun_core import Failed
from flatrun_core.db import now

log = logging.getLogger(__name__)

_KINDS: Final = ("cert", "chain", "fullchain", "privkey")
_NUMBERED: Final = r"{name}-\d{{4}}"


def places(folders: Folders, name: str) -> dict[str, Path]:
    """Everything that certbot keeps of a lineage, by what it is."""
    return {
        "live": folders.live / name,
        "archive": folders.archive / name,
        "renewal": folders.renewal / f"{name}.conf",
    }


def is_whole(folders: Folders, name: str) -> bool:
    """Whether certbot can work with a lineage: its file of renewal names links, which lead somewhere."""
    return (folders.archive / name).is_dir() and _is_sound(
        folders.renewal / f"{name}.conf", folders.live / name
    )


def is_by_hand(folders: Folders, name: str) -> bool:
    """Whether somebody put the files into ``live`` himself: certbot never had a lineage of this name."""
    found = places(folders, name)
    return not os.path.lexists(found["renewal"]) and not os.path.lexists(found["archive"])


def remove(folders: Folders, name: str) -> None:
    """Remove everything of a lineage, marks and remains too; raises ``Failed``."""
    for path in places(folders, name).values():
        try:
            _remove(path)
        except OSError as exc:
            raise Failed(f"{path} cannot be removed: {exc.strerror}") from exc


@contextmanager
def out_of_the_way(folders: Folders, name: str) -> Iterator[None]:
    """Put remains of a lineage aside, so that certbot can make it anew.

    A certificate among them that can be used is served meanwhile under another name, and is back
    in its place when nothing comes of the attempt. Raises ``OSError``.
    """
    present = any(os.path.lexists(path) for path in places(folders, name).values())
    if not present or is_whole(folders, name):
        yield
        return
    lineage = read_lineage(folders, name)
    stand_in = _stand_in(folders, lineage) if lineage.leaf is not None else None
    aside = _put_aside(folders, name)
    try:
        yield
    except BaseException:
        if stand_in is not None:
            _put_back(folders, name, aside)
            _drop(stand_in)
        raise
    if stand_in is not None:
        _drop(stand_in)


def put_aside(folders: Folders, name: str) -> None:
    """Put a lineage aside in which nothing can be used. Raises ``OSError``."""
    _put_aside(folders, name)


def marks(folders: Folders, name: str) -> dict[str, Stamp]:
    """How the certificates of a name and of those that certbot numbers are now."""
    pattern = re.compile(_NUMBERED.format(name=re.escape(name)))
    try:
        others = sorted(path.name for path in folders.live.iterdir() if pattern.fullmatch(path.name))
    except OSError:
        others = []
    return {one: stamp(folders.live / one / "cert.pem") for one in (name, *others)}


def made(before: dict[str, Stamp], after: dict[str, Stamp], name: str) -> str:
    """Which lineage a run made or renewed: certbot may have numbered it, as another one was in its way."""
    changed = [one for one, seen in after.items() if seen is not None and seen != before.get(one)]
    return name if name in changed or not changed else changed[-1]


def is_of(lineage: str, name: str) -> bool:
    """Whether a lineage is the one of a name, as certbot may have numbered it."""
    return lineage == name or re.fullmatch(_NUMBERED.format(name=re.escape(name)), lineage) is not None


def _is_sound(conf: Path, live: Path) -> bool:
    try:
        found = configobj.ConfigObj(str(conf), encoding="utf-8", default_encoding="utf-8", file_error=True)
        if not isinstance(found.get("renewalparams"), dict):
            return False
        return all(_is_link_in(live, found.get(kind)) for kind in _KINDS)
    except (configobj.ConfigObjError, UnicodeError, OSError):
        return False


def _is_link_in(live: Path, value: object) -> bool:
    """Whether a file of renewal names a link of this lineage, and not of a folder that was moved."""
    path = Path(value) if isinstance(value, str) else None
    return (
        path is not None and path.parent.resolve() == live.resolve() and path.is_symlink() and path.exists()
    )


def _put_aside(folders: Folders, name: str) -> Path:
    aside = folders.own / "damaged" / f"{name}-{now():%Y%m%dT%H%M%S%fZ}"
    aside.mkdir(mode=0o700, parents=True)
    moved = []
    for kind, path in places(folders, name).items():
        if os.path.lexists(path):
            path.rename(aside / kind)
            moved.append(kind)
    text = "certbot cannot work with what is left of the certificate '%s' (%s); it is put aside in %s"
    log.warning(text, name, ", ".join(moved), aside)
    return aside


def _put_back(folders: Folders, name: str, aside: Path) -> None:
    if any(os.path.lexists(path) for path in places(folders, name).values()):
        _put_aside(folders, name)
    for kind, path in places(folders, name).items():
        if os.path.lexists(aside / kind):
            (aside / kind).rename(path)
    with suppress(OSError):
        aside.rmdir()
    log.warning("the certificate '%s' is back in its place, as there is no new one", name)


def _stand_in(folders: Folders, lineage: Lineage) -> Path:
    """A lineage of another name with the same files, which appears as a whole."""
    shown = folders.live / f"{lineage.name}.kept-{now():%Y%m%dT%H%M%S%fZ}"
    hidden = shown.with_name(f".{shown.name}")
    hidden.mkdir(mode=0o700)
    files = lineage.files
    for kind, path in (("cert", files.leaf), ("fullchain", files.chain), ("privkey", files.key)):
        shutil.copy(path, hidden / f"{kind}.pem")
    (hidden / DISABLED).touch()
    hidden.chmod(0o755)
    hidden.rename(shown)
    return shown


def _drop(stand_in: Path) -> None:
    hidden = stand_in.with_name(f".{stand_in.name}")
    try:
        stand_in.rename(hidden)
        shutil.rmtree(hidden)
    except OSError:
        log.warning("%s is of no use any more and could not be removed", stand_in, exc_info=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
