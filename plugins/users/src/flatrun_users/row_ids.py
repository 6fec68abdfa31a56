"""Numbers of accounts and keys as they stand in requests."""

import re
from typing import Final

from flatrun_core import Invalid

_LARGEST: Final = 2**31 - 1
_DIGITS: Final = 10
_NOBODY: Final = 0


def row_id(text: str) -> int:
    """The number; 400 when it is none, and one that nothing has when no row could have it."""
    if not re.fullmatch(r"-?[0-9]+", text, re.ASCII):
        raise Invalid("The id must be a whole number")
    number = int(text) if len(text) <= _DIGITS else _NOBODY
    return number if possible(number) else _NOBODY


def possible(number: int) -> bool:
    """Whether a row could have that number; a database may fail when it is asked for any other."""
    return 0 < number <= _LARGEST
