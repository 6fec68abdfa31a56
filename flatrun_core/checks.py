"""What ``flatrun doctor`` looks at: a check of the core or of a plugin, and what it found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: one sentence, and for anything but ``ok`` what to do about it."""

    status: Status
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at on this host.

    ``name`` is for programs (``docker-engine``), ``title`` for people. ``run`` reads and never
    changes anything, takes a few seconds at most, and may raise: that is shown as an error.
    """

    name: str
    title: str
    run: Callable[[], Finding]
