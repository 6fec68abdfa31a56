"""Logins that failed are counted, so that passwords and codes cannot be found by trying.

Five failures of one name, or thirty of whatever names, from one address within five minutes refuse
every further login of that name, or of all, from there until the oldest of them is five minutes
old. Wrong API keys are counted apart, thirty from an address. Other addresses are not touched, so
nobody can lock an account out for its owner.

An attempt is written down before it is known whether it is right, and taken back when it is: however
many arrive at once, and in whatever process, no more are tried than there may be failures. Attempts
from one address take turns, so that right ones are never refused because of one another.

An IPv6 address counts as the /64 it is in, because one host has all of those. Attempts that are
stamped ahead of the clock, which was set back since, count no more.
"""

import ipaddress
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from flatrun_core import RateLimited, ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.storage import PanelStore
from flatrun_users.models import LoginAttempt

WINDOW: Final = timedelta(minutes=5)
SKEW: Final = timedelta(minutes=1)  # how far the clocks of panels that share a database may differ
OF_NAME: Final = 5
OF_ADDRESS: Final = 30
KEYS: Final = ""  # in the place of a name: attempts with an API key
_NAME_LENGTH: Final = 64


class Attempt:
    """One attempt while it is decided; it counts as failed unless one of the methods is called.

    Both belong into the transaction that the success is written in.
    """

    def __init__(self, number: int, source: str, name: str) -> None:
        self._number = number
        self._source = source
        self._name = name

    def clear(self) -> None:
        """A login succeeded: forget every attempt of this name from this address."""
        same = (LoginAttempt.client_ip == self._source) & (LoginAttempt.username_key == self._name)
        LoginAttempt.drop(same)

    def release(self) -> None:
        """It was right, but is no login: forget this attempt alone."""
        LoginAttempt.drop(LoginAttempt.id == self._number)


class Throttle:
    """Admits attempts. Safe to call from any thread."""

    def __init__(self, database: PanelStore) -> None:
        self._database = database
        self._turns = _Turns()

    @contextmanager
    def attempt(self, client_ip: str, username: str) -> Iterator[Attempt]:
        """Reserve an attempt for the time that it is decided; 429 ``RATE_LIMITED`` when there were enough.

        ``username`` is what was typed, known or not, or ``KEYS``. Not to be entered in a transaction.
        """
        source, name = source_of(client_ip), name_of(username)
        with self._turns.take(source):
            yield Attempt(self._reserve(source, name), source, name)

    def unlock(self, username: str) -> int:
        """Forget the failures of a name from every address; how many there were."""
        with self._database.atomic():
            return LoginAttempt.drop(LoginAttempt.username_key == name_of(username))

    def forget(self) -> int:
        """Delete attempts that count no more; how many rows went."""
        with self._database.atomic():
            moment = now()
            return LoginAttempt.drop(~LoginAttempt.at.between(moment - WINDOW, moment + SKEW))

    def _reserve(self, source: str, name: str) -> int:
        moment = now()
        # Looked at before it is written, so that a flood of refused ones writes nothing.
        with self._database.session():
            _refuse_beyond(source, name, moment, reserved=0)
        with self._database.atomic():
            row = LoginAttempt.create(client_ip=source, username_key=name, at=moment)
        # And once more with all that other processes reserved meanwhile: the sixth of them sees six.
        try:
            with self._database.session():
                _refuse_beyond(source, name, moment, reserved=1)
        except RateLimited:
            with self._database.atomic():
                LoginAttempt.drop(LoginAttempt.id == row.id)
            raise
        return int(row.id)


def source_of(client_ip: str) -> str:
    """The address, or of IPv6 the network, that attempts are counted for."""
    try:
        address = ipaddress.ip_address(client_ip.partition("%")[0])
    except ValueError:
        return client_ip[:_NAME_LENGTH]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def name_of(username: str) -> str:
    """A name as it is counted: in lower case, and cut to what a name may have."""
    return username.lower()[:_NAME_LENGTH]


def _refuse_beyond(source: str, name: str, moment: datetime, *, reserved: int) -> None:
    found = LoginAttempt.of_address(source, moment - WINDOW, moment + SKEW)
    of_name = [at for other, at in found if other == name]
    of_others = [at for other, at in found if other != KEYS]
    limits = [(of_name, OF_ADDRESS)] if name == KEYS else [(of_name, OF_NAME), (of_others, OF_ADDRESS)]
    waits = [_wait(times, limit, moment) for times, limit in limits if len(times) >= limit + reserved]
    if waits:
        raise RateLimited(
            "Too many failed attempts; try again later", headers={"Retry-After": str(max(waits))}
        )


def _wait(times: list[datetime], limit: int, moment: datetime) -> int:
    """Whole seconds until fewer than ``limit`` of these times are within the window."""
    left = times[-limit] + WINDOW - moment
    return min(max(math.ceil(left.total_seconds()), 1), int(WINDOW.total_seconds()))


class _Turns:
    """A lock for each address that somebody logs in from."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def take(self, source: str) -> Iterator[None]:
        with self._mutex:
            lock, waiting = self._locks.get(source, (threading.Lock(), 0))
            self._locks[source] = (lock, waiting + 1)
        try:
            with lock:
                yield
        finally:
            with self._mutex:
                waiting = self._locks[source][1] - 1
                if waiting:
                    self._locks[source] = (lock, waiting)
                else:
                    del self._locks[source]


THROTTLE: ServiceKey[Throttle] = ServiceKey("users.throttle", "users")
