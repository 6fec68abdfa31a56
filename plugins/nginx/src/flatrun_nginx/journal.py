"""The swap of a tested set, so that a crash anywhere leaves the old set or leads to the new one.

Files go to their places one after the other, and a crash between two would leave a set that nobody
tested. So the moves are written down before the first one; who finds them finishes them.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flatrun_nginx.files import Files, read_json

log = logging.getLogger(__name__)

JOURNAL: Final = ".flatrun-swap.json"
STAGING: Final = ".staging-"
_STAGED: Final = re.compile(r"\.staging-[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Move:
    """A staged file and its place; without a source the place becomes empty."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Places:
    """The folders whose files are swapped: names below ``lua/`` are of the folder of fragments' files."""

    conf: Path
    lua: Path

    def of(self, name: str) -> Path:
        """The place of a file by its name in the journal; raises ``ValueError`` for one elsewhere."""
        folder, plain = (self.lua, name[4:]) if name.startswith("lua/") else (self.conf, name)
        if not plain or plain in (".", "..") or "/" in plain:
            raise ValueError(f"{name!r} is not the name of a file here")
        return folder / plain


class Swap:
    """Moves staged files to their places; ``keep`` is a folder for the ones that were there."""

    def __init__(self, places: Places, files: Files) -> None:
        self._places = places
        self._files = files
        self._journal = places.conf / JOURNAL

    @property
    def pending(self) -> bool:
        """Whether a swap was begun that nginx has not been told of."""
        return self._journal.exists()

    def run(self, staging: Path, moves: Sequence[Move]) -> None:
        """Move; on a failure put back what was moved and raise it.

        The journal stays until ``done``.
        """
        for move in moves:
            if move.source:
                self._files.sync(staging / move.source)
        self._files.sync_folder(staging)
        self._write(staging.name, moves)
        old = staging / "old"
        moved: list[tuple[Path, Path | None]] = []
        try:
            self._files.make_folder(old)
            for number, move in enumerate(moves):
                moved.append(self._one(staging, move, old / str(number)))
            self._sync()
        except Exception:
            for target, kept in reversed(moved):
                self._put_back(target, kept)
            self._files.remove(self._journal)
            raise

    def done(self) -> None:
        """Say that nginx has the new set, or will read it when it starts.

        A journal that cannot be removed costs a needless reload and no more.
        """
        try:
            self._files.remove(self._journal)
        except OSError as exc:
            log.warning("nginx: %s could not be removed: %s", self._journal, exc)

    def finish(self) -> bool:
        """Finish what a crash cut off and remove what it left; whether nginx must be told."""
        pending = self.pending
        if pending:
            self._replay(read_json(self._journal))
        for leftover in self._places.conf.glob(f"{STAGING}*"):
            self._files.drop(leftover)
        for leftover in self._places.conf.glob(".*.part"):
            self._files.remove(leftover)
        return pending

    def _write(self, staging: str, moves: Sequence[Move]) -> None:
        listed = [[move.source, move.target] for move in moves]
        self._files.write_whole(self._journal, json.dumps({"staging": staging, "moves": listed}))

    def _one(self, staging: Path, move: Move, kept: Path) -> tuple[Path, Path | None]:
        target = self._places.of(move.target)
        there = target.exists()
        if there:
            self._files.link(target, kept)
        if move.source:
            self._files.replace(staging / move.source, target)
        else:
            self._files.remove(target)
        return target, kept if there else None

    def _put_back(self, target: Path, kept: Path | None) -> None:
        if kept is None:
            self._files.remove(target)
        else:
            self._files.replace(kept, target)

    def _replay(self, journal: Mapping[str, Any]) -> None:
        name, moves = journal.get("staging"), journal.get("moves")
        try:
            planned = [(str(source), self._places.of(str(target))) for source, target in moves or ()]
        except (TypeError, ValueError):
            planned = []
        if not planned or not isinstance(name, str) or not _STAGED.fullmatch(name):
            log.warning("nginx: %s tells of no swap that could be finished", self._journal)
            return
        staging = self._places.conf / name
        for source, place in planned:
            if not source:
                self._files.remove(place)
            elif (staging / source).exists():
                self._files.replace(staging / source, place)
        self._sync()

    def _sync(self) -> None:
        self._files.sync_folder(self._places.conf)
        if self._places.lua.exists():
            self._files.sync_folder(self._places.lua)
