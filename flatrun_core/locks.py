"""Locks: between the threads of one process, always in one order, and between processes."""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flatrun_core.disk import give_to_owner_of
from flatrun_core.errors import Conflict
from flatrun_core.ports.scheduling import LOCK_ORDER, Locks

Key = tuple[int, str]


@dataclass(slots=True, eq=False)
class _Claim:
    """One thread's hold on a lock, or its place in the queue for it."""

    thread: int = field(default_factory=threading.get_ident)
    depth: int = 1
    granted: threading.Event = field(default_factory=threading.Event)


class _Mine(threading.local):
    def __init__(self) -> None:
        self.keys: list[Key] = []


class LockTable(Locks):
    """Named locks of one process, first come first served.

    A lock goes from its holder straight to the one that waits longest, so nobody who comes later
    gets it before. What nobody holds is forgotten: the table is as large as what is in use.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._claims: dict[Key, deque[_Claim]] = {}  # the first one holds it
        self._mine = _Mine()

    @contextmanager
    def hold(self, kind: str, name: str = "", wait: float = 0) -> Iterator[None]:
        """Hold a lock; see the port. Two of one kind are taken by sorted name only."""
        if kind not in LOCK_ORDER:
            raise RuntimeError(f"there is no kind of lock '{kind}', only {', '.join(LOCK_ORDER)}")
        key = (LOCK_ORDER.index(kind), name)
        self._check_order(key)
        self._acquire(key, wait)
        self._mine.keys.append(key)
        try:
            yield
        finally:
            self._mine.keys.remove(key)
            self._release(key)

    def _check_order(self, key: Key) -> None:
        mine = self._mine.keys
        if mine and key not in mine and key < max(mine):
            raise RuntimeError(
                f"the lock '{_name(key)}' was asked for while holding '{_name(max(mine))}'; "
                f"the order is {', '.join(LOCK_ORDER)}, and within a kind by name"
            )

    def _acquire(self, key: Key, wait: float) -> None:
        mine = _Claim()
        with self._mutex:
            queue = self._claims.setdefault(key, deque())
            if not queue:
                mine.granted.set()
            elif queue[0].thread == mine.thread:
                queue[0].depth += 1
                return
            elif wait <= 0:
                raise _busy(key)
            queue.append(mine)
        try:
            if not mine.granted.wait(wait):
                raise _busy(key)
        except BaseException:  # of a signal's handler, too
            if not self._withdraw(key, mine):
                self._release(key)
            raise

    def _withdraw(self, key: Key, mine: _Claim) -> bool:
        """Leave the queue; False when the lock was handed over at the last moment."""
        with self._mutex:
            if not mine.granted.is_set():
                self._claims[key].remove(mine)
                return True
        return False

    def _release(self, key: Key) -> None:
        with self._mutex:
            queue = self._claims[key]
            queue[0].depth -= 1
            if queue[0].depth:
                return
            queue.popleft()
            if queue:
                queue[0].granted.set()
            else:
                del self._claims[key]


def _name(key: Key) -> str:
    return f"{LOCK_ORDER[key[0]]} {key[1]}".strip()


def _busy(key: Key) -> Conflict:
    return Conflict(f"Another operation on {_name(key)} is in progress", code="OPERATION_IN_PROGRESS")


class FileLock:
    """A lock between processes that the kernel drops with its holder, however that one ends.

    The file stays: removing it would let two processes hold two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take it if it is free, without waiting. Raises ``OSError`` when the file cannot be made."""
        if self._file is not None:
            return True
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._open()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            file = os.open(self.path, flags | os.O_EXCL, 0o600)
        except FileExistsError:
            return os.open(self.path, flags, 0o600)
        give_to_owner_of(self.path.parent, file)
        return file

    def release(self) -> None:
        """Let it go, if it is held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
