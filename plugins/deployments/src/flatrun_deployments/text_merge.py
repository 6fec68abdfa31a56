"""Carrying a change made to a reformatted text over to the text as it was."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

# Comparing takes time with the square of this at worst; longer texts are not worth it.
_MAX_LINES: Final = 1000


@dataclass(frozen=True, slots=True)
class _Hunk:
    """Lines ``start`` to ``end`` of the common base, replaced by others."""

    start: int
    end: int
    lines: tuple[str, ...]
    changes: bool


def merge(base: str, original: str, changed: str) -> str:
    """The original with the lines in which ``changed`` differs from ``base``.

    ``base`` says the same as ``original`` in another form. Where both differ from it in the same
    place, ``changed`` wins.
    """
    common = base.splitlines(keepends=True)
    if original == base or len(common) > _MAX_LINES:
        return changed
    hunks = [*_hunks(common, original, changes=False), *_hunks(common, changed, changes=True)]
    merged: list[str] = []
    position = 0
    for cluster in _clusters(sorted(hunks, key=lambda hunk: (hunk.start, hunk.end))):
        start = min(hunk.start for hunk in cluster)
        merged += common[position:start]
        position = max(hunk.end for hunk in cluster)
        merged += _resolved(common, cluster, start, position)
    return "".join(merged + common[position:])


def _hunks(common: list[str], text: str, *, changes: bool) -> list[_Hunk]:
    lines = text.splitlines(keepends=True)
    matcher = SequenceMatcher(None, common, lines, autojunk=False)
    return [
        _Hunk(start, end, tuple(lines[first:last]), changes)
        for kind, start, end, first, last in matcher.get_opcodes()
        if kind != "equal"
    ]


def _clusters(hunks: list[_Hunk]) -> list[list[_Hunk]]:
    """Hunks that overlap, or insert at the same place, together; in order."""
    clusters: list[list[_Hunk]] = []
    end = -1
    for hunk in hunks:
        if clusters and (hunk.start < end or (hunk.start == hunk.end == clusters[-1][-1].start)):
            clusters[-1].append(hunk)
        else:
            clusters.append([hunk])
        end = max(end, hunk.end)
    return clusters


def _resolved(common: list[str], cluster: list[_Hunk], start: int, end: int) -> list[str]:
    changes = [hunk for hunk in cluster if hunk.changes] or cluster
    lines: list[str] = []
    position = start
    for hunk in changes:
        lines += [*common[position : hunk.start], *hunk.lines]
        position = hunk.end
    return lines + common[position:end]
