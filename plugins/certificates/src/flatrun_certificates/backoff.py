"""How long to wait after a failure: longer each time, and never the same for everybody."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final

SHORTEST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(hours=24)
_SPREAD: Final = 0.25


def wait_after(failures: int, share: Callable[[], float] = random.random) -> timedelta:
    """The wait after so many failures in a row, at least one.

    Doubles from a minute to a day, and up to a quarter is taken off at random (``share``, 0 to 1),
    so that what failed together does not come back together. Never below the shortest.
    """
    doubled = LONGEST if failures > 11 else min(LONGEST, SHORTEST * 2 ** (max(failures, 1) - 1))  # noqa: PLR2004
    return max(SHORTEST, doubled * (1 - _SPREAD * share()))
