"""Locks: between the threads of one process, always in one order, and between processes."""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flatrun_core.errors import Conflict
from flatrun_core.ports.scheduling import LOCK_ORDER, Locks

Key = tuple[int, str]


@dataclass(slots=True)
class _Ticket:
    thread: int
    granted: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class _Holding:
    thread: int
    depth: int = 1
    queue: deque[_Ticket] = field(default_factory=deque)


class _Mine(threading.local):
    def __init__(self) -> None:
        self.keys: list[Key] = []


class LockTable(Locks):
    """Named locks of one process, first come first served.

    A lock is handed from its holder to the one that waits longest, so nobody who comes later gets
    it before. What nobody holds is forgotten: the table is as large as what is in use.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held: dict[Key, _Holding] = {}
        self._mine = _Mine()

    @contextmanager
    def hold(self, kind: str, name: str = "", wait: float = 0) -> Iterator[None]:
        """Hold a lock; see the port. Two of one kind are taken by sorted name only."""
        key = self._key(kind, name)
        self._check_order(key)
        self._acquire(key, wait)
        self._mine.keys.append(key)
        try:
            yield
        finally:
            self._mine.keys.remove(key)
            self._release(key)

    def busy(self) -> int:
        """How many locks are held now."""
        return len(self._held)

    @staticmethod
    def _key(kind: str, name: str) -> Key:
        if kind not in LOCK_ORDER:
            raise RuntimeError(f"there is no kind of lock '{kind}', only {', '.join(LOCK_ORDER)}")
        return LOCK_ORDER.index(kind), name

    def _check_order(self, key: Key) -> None:
        mine = self._mine.keys
        if mine and key not in mine and key < max(mine):
            held = max(mine)
            raise RuntimeError(
                f"the lock {LOCK_ORDER[key[0]]} '{key[1]}' was asked for while holding "
                f"{LOCK_ORDER[held[0]]} '{held[1]}'; the order is {', '.join(LOCK_ORDER)}, then by name"
            )

    def _acquire(self, key: Key, wait: float) -> None:
        me = threading.get_ident()
        with self._mutex:
            holding = self._held.get(key)
            if holding is None:
                self._held[key] = _Holding(me)
                return
            if holding.thread == me:
                holding.depth += 1
                return
            if wait <= 0:
                raise _busy(key)
            ticket = _Ticket(me)
            holding.queue.append(ticket)
        try:
            granted = ticket.granted.wait(wait)
        except BaseException:
            if self._withdraw(key, ticket):
                self._release(key)
            raise
        if not granted and not self._withdraw(key, ticket):
            raise _busy(key)

    def _withdraw(self, key: Key, ticket: _Ticket) -> bool:
        """Leave the queue; True when the lock was handed over at the last moment."""
        with self._mutex:
            if ticket.granted.is_set():
                return True
            self._held[key].queue.remove(ticket)
            return False

    def _release(self, key: Key) -> None:
        with self._mutex:
            holding = self._held[key]
            holding.depth -= 1
            if holding.depth:
                return
            if not holding.queue:
                del self._held[key]
                return
            ticket = holding.queue.popleft()
            holding.thread, holding.depth = ticket.thread, 1
            ticket.granted.set()


def _busy(key: Key) -> Conflict:
    what = f"{LOCK_ORDER[key[0]]} {key[1]}".strip()
    return Conflict(f"Another operation on {what} is in progress", code="OPERATION_IN_PROGRESS")


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
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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

    def release(self) -> None:
        """Let it go, if it is held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
