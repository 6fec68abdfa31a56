"""What a start does about creations and removals that the panel's end cut off."""

import logging
from collections.abc import Callable
from pathlib import Path

from flatrun_deployments import tree
from flatrun_deployments.construction import FINISHING_MARKER, resume, resume_finishing
from flatrun_deployments.discovery import Discovery

log = logging.getLogger(__name__)


def recover(root: Path, discovery: Discovery) -> list[str]:
    """Complete or take back what was half done, and say so in the log; the lines it logged.

    Folders that another living process works in are left alone, and what fails stays for a human
    eye: the panel starts all the same.
    """
    discovery.scan()  # makes a missing root, refuses an unreadable one
    lines = [_guarded(path, lambda path: resume(root, path)) for path in discovery.unfinished()]
    finishing = sorted(root.glob(f"*/{FINISHING_MARKER}"))
    lines += [_guarded(marker.parent, resume_finishing) for marker in finishing]
    lines += [f"the leftover '{path.name}' was cleared away" for path in tree.remove_leftovers(root)]
    told = [line for line in lines if line]
    for line in told:
        log.warning("at the start: %s", line)
    return told


def _guarded(path: Path, step: Callable[[Path], str | None]) -> str | None:
    try:
        return step(path)
    except Exception:
        log.exception("the folder %s was left half done and could not be repaired", path.name)
        return None
