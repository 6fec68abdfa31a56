"""When a folder was made, where the file system knows it."""

import ctypes
import os
import struct
from functools import cache
from typing import Any, Final

_AT_FDCWD: Final = -100
_STATX_BTIME: Final = 0x800
_SIZE: Final = 256
_BTIME: Final = struct.Struct("=qI")
_BTIME_AT: Final = 80


def birth_time(path: str) -> float | None:
    """Seconds since the epoch, or None where kernel, library or file system do not tell."""
    call = _statx()
    if call is None:
        return None
    buffer = ctypes.create_string_buffer(_SIZE)
    if call(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return None
    (mask,) = struct.unpack_from("=I", buffer)
    seconds, nanoseconds = _BTIME.unpack_from(buffer, _BTIME_AT)
    return float(seconds + nanoseconds / 1e9) if mask & _STATX_BTIME and seconds > 0 else None


@cache
def _statx() -> Any:
    """The C library's function; Python's own ``os.stat`` does not ask for the birth time on Linux."""
    try:
        return ctypes.CDLL(None).statx
    except (OSError, AttributeError):
        return None
