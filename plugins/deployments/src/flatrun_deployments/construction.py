"""The folder of a deployment while it is being made: claimed, filled, then kept whole or put back.

A marker in the folder hides it from discovery and carries a journal of what will be written. The
same journal takes everything back after a failure and, at the next start, after a crash.
"""

import fcntl
import glob
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Final, Self

from flatrun_core.disk import sync_folder
from flatrun_deployments import compose_file, files, override, tree
from flatrun_deployments.discovery import CREATING_MARKER, REMOVED_MARKER, is_removed
from flatrun_deployments.errors import deployment_exists
from flatrun_deployments.names import inside

log = logging.getLogger(__name__)

# Replaces the marker once the files stand, until start and proxy are over; discovery ignores it.
FINISHING_MARKER: Final = ".flatrun-finishing"

DIRECTORY_MODE: Final = 0o755
KEPT_BACKUPS: Final = 5
STAMP: Final = "%Y%m%d%H%M%S"


@dataclass(frozen=True, slots=True)
class Journal:
    """What a construction touches, relative to its folder.

    ``over`` tells that the folder was there before. ``saved`` are files that were there and have a
    copy ``<file>.bak.<stamp>``; ``made`` are files and ``folders`` directories that were not.
    """

    over: bool
    stamp: str = ""
    saved: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @classmethod
    def read(cls, marker: Path) -> Self | None:
        """The journal in a marker; None when it is not one of ours."""
        try:
            found = json.loads(marker.read_text("utf-8"))
            lists = {key: tuple(map(str, found[key])) for key in ("saved", "made", "folders")}
            return cls(over=bool(found["over"]), stamp=str(found["stamp"]), **lists)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def backup_of(self, relative: str) -> str:
        """The name under which a file was saved."""
        return f"{relative}.bak.{self.stamp}"


class Construction:
    """One folder under construction. Every path given to it is relative and stays inside the folder."""

    def __init__(self, root: Path, path: Path, journal: Journal, lock: int) -> None:
        self._root = root
        self.path = path
        self._journal = journal
        self._lock = lock

    @classmethod
    def claim(cls, root: Path, name: str, planned: Iterable[str], folders: Iterable[str]) -> Self:
        """Take the folder of that name for a new deployment that will write ``planned``.

        One kept by an earlier removal is taken over with all its data: what will be replaced is
        saved beside, everything else stays. Anything else of that name is 409 ``DEPLOYMENT_EXISTS``.
        """
        path = root / name
        resume(root, path)
        if os.path.lexists(path / CREATING_MARKER):
            raise deployment_exists(name)
        if is_removed(path):
            return cls._take_over(root, path, list(planned), list(folders))
        if os.path.lexists(path):
            raise deployment_exists(name)
        return cls._fresh(root, path)

    @classmethod
    def _fresh(cls, root: Path, path: Path) -> Self:
        journal = Journal(over=False)
        # Marked before it gets its name, so that no moment leaves a folder that looks finished.
        hidden = files.temporary_name(root)
        with files.storage_errors("the deployment's folder"):
            hidden.mkdir()
            hidden.chmod(DIRECTORY_MODE)
            try:
                lock = _write_marker(hidden, journal)
                hidden.rename(path)
            except BaseException as exc:
                tree.remove_tree(root, hidden)
                if isinstance(exc, OSError) and os.path.lexists(path):
                    raise deployment_exists(path.name) from exc
                raise
        return cls(root, path, journal, lock)

    @classmethod
    def _take_over(cls, root: Path, path: Path, planned: Sequence[str], folders: Sequence[str]) -> Self:
        targets = {relative: inside(path, relative) for relative in planned}
        displaced = _displaced(path, planned)
        journal = Journal(
            over=True,
            stamp=_free_stamp(path, [*planned, *displaced]),
            saved=(*(relative for relative, target in targets.items() if target.exists()), *displaced),
            made=tuple(relative for relative, target in targets.items() if not target.exists()),
            folders=_missing_folders(path, planned, folders),
        )
        with files.storage_errors("the deployment's folder"):
            self = cls(root, path, journal, _write_marker(path, journal))
        try:
            self._save(displaced)
        except BaseException:
            self.abandon()
            raise
        return self

    def write(self, relative: str, text: str, mode: int | None = None) -> None:
        """Write a text as it is; 500 ``STORAGE_FULL`` and the like leave what was there."""
        target = inside(self.path, relative)
        self.folder(str(PurePosixPath(relative).parent))
        files.atomic_write(target, text.encode(), mode=mode)

    def folder(self, relative: str) -> None:
        """Make a directory and its parents."""
        if relative not in (".", ""):
            with files.storage_errors("a folder of the deployment"):
                inside(self.path, relative).mkdir(parents=True, exist_ok=True)

    def commit(self) -> None:
        """From here on the deployment exists; ``finish`` follows when nothing more is to be done."""
        with files.storage_errors("the deployment's folder"):
            sync_folder(self.path)
            _commit(self.path)
            sync_folder(self._root)

    def finish(self) -> None:
        """Nothing more is to be done for this creation; never raises, the deployment stands."""
        try:
            _tidy_backups(self.path, self._journal)
            (self.path / FINISHING_MARKER).unlink(missing_ok=True)
        except OSError as exc:
            log.warning(
                "the creation of %s left a mark, which the next start clears: %s", self.path.name, exc
            )
        os.close(self._lock)

    def abandon(self) -> None:
        """Put everything back as it was; what cannot be put back is logged and left to the next start."""
        try:
            _put_back(self._root, self.path, self._journal)
        except Exception:
            log.exception("the creation of %s is not taken back; the next start tries again", self.path.name)
        os.close(self._lock)

    def _save(self, displaced: Sequence[str]) -> None:
        with files.storage_errors("a copy of the earlier deployment's files"):
            for relative in self._journal.saved:
                source = inside(self.path, relative)
                backup = source.with_name(f"{source.name}.bak.{self._journal.stamp}")
                if relative in displaced:
                    source.rename(backup)
                else:
                    _keep(source, backup)


def resume(root: Path, path: Path) -> str | None:
    """End what a crash cut off in one folder; what was done, or None when there was nothing to do.

    A folder that a living process works in is left alone.
    """
    marker = path / CREATING_MARKER
    lock = _try_lock(marker)
    if lock is None:
        return None
    try:
        journal = Journal.read(marker)
        if journal is None:
            log.error("%s has a %s that is not readable; look at it by hand", path.name, CREATING_MARKER)
            return None
        _put_back(root, path, journal)
        return f"the creation of '{path.name}' was cut off and has been taken back"
    finally:
        os.close(lock)


def resume_finishing(path: Path) -> str | None:
    """Complete a creation that was cut off after its files stood; what to tell, or None."""
    marker = path / FINISHING_MARKER
    lock = _try_lock(marker)
    if lock is None:
        return None
    (path / REMOVED_MARKER).unlink(missing_ok=True)
    if journal := Journal.read(marker):
        _tidy_backups(path, journal)
    marker.unlink(missing_ok=True)
    os.close(lock)
    return f"the creation of '{path.name}' was cut off after its files stood; it may have to be started"


def _commit(path: Path) -> None:
    # The one step that makes the deployment visible: the rename where the folder is new, and where
    # it was there before, the end of the marker that still hides it.
    (path / CREATING_MARKER).rename(path / FINISHING_MARKER)
    (path / REMOVED_MARKER).unlink(missing_ok=True)


def _put_back(root: Path, path: Path, journal: Journal) -> None:
    if not journal.over:
        tree.remove_tree(root, path)
        return
    for relative in journal.saved:
        backup = inside(path, journal.backup_of(relative))
        if backup.exists():
            backup.replace(inside(path, relative))
            # Where both are names of one file, the line above changes nothing.
            backup.unlink(missing_ok=True)
    for relative in (*journal.made, override.FILENAME):
        inside(path, relative).unlink(missing_ok=True)
    _clear_folders(path, journal)
    for marker in (CREATING_MARKER, FINISHING_MARKER):
        (path / marker).unlink(missing_ok=True)
    sync_folder(path)


def _clear_folders(path: Path, journal: Journal) -> None:
    # Start-up looks for half-written files in the deployment's folder itself only.
    for parent in {inside(path, relative).parent for relative in (*journal.saved, *journal.made)}:
        for half in parent.glob(f"{files.TEMP_PREFIX}*"):
            half.unlink(missing_ok=True)
    for relative in sorted(journal.folders, key=len, reverse=True):
        folder = inside(path, relative)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _keep(source: Path, backup: Path) -> None:
    """A second name for the file as it is, owner and times included: writes replace and never change it."""
    try:
        backup.hardlink_to(source)
    except OSError:
        # Not every file system has links, and not every file may be linked.
        shutil.copy2(source, backup)


def _tidy_backups(path: Path, journal: Journal) -> None:
    """Keep the newest copies of each file, and none that is a second name of the file in use."""
    for relative in journal.saved:
        file, backup = inside(path, relative), inside(path, journal.backup_of(relative))
        if file.exists() and backup.exists() and file.samefile(backup):
            # Nothing replaced it, so an edit in place would change the copy with it.
            backup.unlink()
        for old in sorted(_copies(file), reverse=True)[KEPT_BACKUPS:]:
            old.unlink(missing_ok=True)


def _write_marker(folder: Path, journal: Journal) -> int:
    marker = folder / CREATING_MARKER
    files.atomic_write(marker, json.dumps(asdict(journal)).encode(), mode=0o600)
    lock = _try_lock(marker)
    if lock is None:
        raise deployment_exists(folder.name)
    return lock


def _try_lock(marker: Path) -> int | None:
    """A descriptor that holds the marker's lock, which the kernel drops with its process."""
    try:
        lock = os.open(marker, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _displaced(path: Path, planned: Iterable[str]) -> list[str]:
    """Files of the earlier deployment that compose would read beside the new ones."""
    entries = {entry.name for entry in path.iterdir() if entry.is_file() and not entry.is_symlink()}
    found = {name for name in (*compose_file.CANDIDATES, *compose_file.OVERRIDES) if name in entries}
    main = compose_file.find(entries)
    return sorted((found | ({main} if main else set())) - set(planned))


def _missing_folders(path: Path, planned: Iterable[str], folders: Iterable[str]) -> tuple[str, ...]:
    wanted: set[str] = set()
    for relative in [*(str(PurePosixPath(p).parent) for p in planned), *folders]:
        parts = PurePosixPath(relative).parts
        wanted.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
    return tuple(sorted(name for name in wanted if not inside(path, name).exists()))


def _free_stamp(path: Path, relatives: Sequence[str]) -> str:
    """Now, or the second after the newest copy: one in a gap that pruning left would count as the oldest."""
    files_ = [inside(path, relative) for relative in relatives]
    moment = datetime.now(UTC).replace(microsecond=0)
    latest = moment + timedelta(hours=1)  # what is named still later, a wrong clock has named
    for copy in (copy for file in files_ for copy in _copies(file)):
        stamp = _moment_of(copy)
        if stamp is not None and moment <= stamp < latest:
            moment = stamp + timedelta(seconds=1)
    while any(os.path.lexists(f"{file}.bak.{moment.strftime(STAMP)}") for file in files_):
        moment += timedelta(seconds=1)
    return moment.strftime(STAMP)


def _copies(file: Path) -> Iterator[Path]:
    return file.parent.glob(f"{glob.escape(file.name)}.bak.*")


def _moment_of(copy: Path) -> datetime | None:
    try:
        return datetime.strptime(copy.name.rpartition(".")[2], STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
