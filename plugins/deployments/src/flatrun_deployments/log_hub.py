"""One Engine log connection and one thread for each container that is followed, however many follow.

A ``Feed`` reads one container's log onto a tape; followers hold a ``Seat`` at it. The last one to
leave ends the connection, and with the last watcher the hub stops listening to the Engine's events,
so that nothing runs while nobody follows.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from flatrun_core import Failed, FlatrunError, NotFound, Unavailable
from flatrun_core.ports.docker import Container, Engine, EngineEvent, LogLine, LogStream
from flatrun_deployments.log_tape import Entry, Tape, entry, skipped
from flatrun_deployments.log_text import SECOND, moment, timestamp

log = logging.getLogger(__name__)

# The two streams of a container may stand in its log in another order than their times.
OVERLAP: Final = SECOND
# How many followers begin at a time, and how long one waits for that, in seconds.
_ENTRANCE: Final = 4
_ENTRANCE_WAIT: Final = 2.0
# How many lines of a log are fetched for its tape: what followers ask for unless they say otherwise.
_SEED: Final = 100


@dataclass(frozen=True, slots=True)
class HubLimits:
    """What one container's feed may cost.

    ``lines`` and ``bytes`` are kept for it; at most ``rate`` lines a second are read of it, and with
    many followers no more than make ``deliveries`` to all of them; one that writes faster until it is
    ``behind`` by so many seconds is skipped to its end; ``settle`` seconds lie between two connections.
    """

    lines: int = 2000
    bytes: int = 512 * 1024
    rate: int = 2000
    deliveries: int = 60_000
    behind: float = 5.0
    settle: float = 0.3


class Bell:
    """Wakes one follower, and remembers whether containers may have come, gone, or changed."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._changed = False

    def ring(self, *, changed: bool = False) -> None:
        """Wake the follower; quick when it is awake already."""
        if changed:
            self._changed = True
        if not self._event.is_set():
            self._event.set()

    def wait(self, timeout: float) -> bool:
        """Wait for a ring, at most ``timeout`` seconds; whether something changed since the last time."""
        self._event.wait(timeout)
        self._event.clear()
        changed, self._changed = self._changed, False
        return changed


class _Pace:
    """Holds a reader to so many lines a second, and says when that leaves it hopelessly behind."""

    _SLOTS = 10

    def __init__(self, limits: HubLimits) -> None:
        self._limits = limits
        self._chunk = max(1, limits.rate // self._SLOTS)
        self._count = 0
        self._begun = time.monotonic()
        self._delay: float | None = None

    def behind(self, moment: int, followers: int) -> bool:
        """Count a line, wait when there were too many; True when reading on makes no sense."""
        self._count += 1
        if self._count < self._chunk:
            return False
        rate = min(self._limits.rate, max(1, self._limits.deliveries // max(1, followers)))
        time.sleep(max(0.0, self._begun + self._chunk / rate - time.monotonic()))
        self._count, self._begun = 0, time.monotonic()
        delay = (time.time_ns() - moment) / SECOND
        # The Engine may be another machine, with another clock: only what it loses counts.
        self._delay = delay if self._delay is None else min(self._delay, delay)
        return delay - self._delay > self._limits.behind


class Feed:
    """Reads one container's log onto a tape while it has members."""

    def __init__(self, engine: Engine, container: Container, limits: HubLimits) -> None:
        self.container = container
        self.tape = Tape(limits.lines, limits.bytes)
        self.members: tuple[Bell, ...] = ()
        self.failure: FlatrunError | None = None
        self.running = False
        self.wanted = False
        self.started = 0.0
        self._engine = engine
        self._limits = limits
        self._lock = threading.Lock()
        self._preparing = threading.Lock()
        self._stream: LogStream | None = None
        self._closed = False
        self._connected = -limits.settle
        self._prepared = False
        # The newest time of each stream; and the time before which nothing of any stream is new.
        self._seen: dict[str, int] = {}
        self._before = -1

    def prepare(self, *, whole: bool, tail: int) -> None:
        """Settle where reading begins: at the log's beginning, or after what it holds now.

        The last lines of what it holds are put on the tape, so that the next follower finds them
        there. Only the first call does something.
        """
        with self._preparing:
            if self._prepared:
                return
            count = 0 if whole else min(max(tail, _SEED), self._limits.lines // 2)
            lines = self._engine.logs(self.container.id, tail=count) if count else []
            for found in (entry(self.container, line) for line in lines):
                self._seen[found.stream] = max(found.moment, self._seen.get(found.stream, 0))
                self.tape.append(found)
            self.tape.whole = whole or len(lines) < count
            if not self.tape.whole:
                self._before = min(moment(line) for line in lines)
            self._prepared = True

    def resume(self) -> bool:
        """Read, unless that is going on; a container that has ended is read to its end.

        False when it is too early after the last time.

        Raises:
            Unavailable: there are no more threads.
        """
        with self._lock:
            now = time.monotonic()
            if self.running or self._closed or self.failure is not None:
                return True
            if now - self._connected < self._limits.settle:
                return False
            self.running, self.wanted, self._connected = True, False, now
        reader = threading.Thread(target=self._read, name=f"logs-{self.container.id[:12]}", daemon=True)
        try:
            reader.start()
        except RuntimeError as exc:
            self.running = False
            raise Unavailable("There is no thread left to read a log with") from exc
        return True

    def close(self) -> None:
        """End the connection and with it the thread."""
        with self._lock:
            self._closed = True
            stream = self._stream
        if stream is not None:
            stream.close()

    def _read(self) -> None:
        failure: FlatrunError | None = None
        try:
            since: str | None = timestamp(max(0, max(self._seen.values(), default=0) - OVERLAP))
            while self._pump(since):
                since = None
                self.tape.whole = False
                self._tell(Entry(time.time_ns(), "", skipped(None)))
        except NotFound:
            log.debug("container %s was removed before its log was read", self.container.name)
        except FlatrunError as exc:
            failure = exc
        except Exception:
            log.exception("reading the log of container %s failed", self.container.name)
            failure = Failed("The container's log cannot be read", code="DOCKER_ERROR")
        with self._lock:
            self.running, self._stream, self.failure = False, None, failure
        for bell in self.members:
            bell.ring(changed=True)

    def _pump(self, since: str | None) -> bool:
        """Read to the end; True when the container writes too fast and reading shall begin anew."""
        told = dict(self._seen)
        with contextlib.closing(self._engine.follow(self.container.id, since=since)) as stream:
            with self._lock:
                if self._closed:
                    return False
                self._stream = stream
            pace = _Pace(self._limits)
            for line in stream:
                self._take(line, told)
                if pace.behind(self._seen.get(line.stream, 0), len(self.members)):
                    return not self._closed
        return False

    def _take(self, line: LogLine, told: dict[str, int]) -> None:
        """Put a line on the tape, unless told before; each stream's first newer line ends that check."""
        found = entry(self.container, line)
        if found.moment <= told.get(line.stream, self._before):
            return
        told[line.stream] = -1
        self._seen[line.stream] = found.moment
        self._tell(found)

    def _tell(self, found: Entry) -> None:
        self.tape.append(found)
        for bell in self.members:
            bell.ring()


class Seat:
    """One follower's place at one container's log."""

    def __init__(self, hub: "LogHub", feed: Feed, bell: Bell) -> None:
        self._hub, self._feed, self._bell = hub, feed, bell
        self._position = feed.tape.end

    @property
    def running(self) -> bool:
        """Whether the container's log is being read."""
        return self._feed.running

    @property
    def wanted(self) -> bool:
        """Whether the container has started since its log was last read."""
        return self._feed.wanted

    @property
    def started(self) -> float:
        """When the container was last seen to start, by the monotonic clock; 0 for never."""
        return self._feed.started

    @property
    def failure(self) -> FlatrunError | None:
        """Why reading ended, when it was not the container's end."""
        return self._feed.failure

    def rewind(self) -> bool:
        """Go to the beginning of the container's log; False when it is not all here."""
        if not self._feed.tape.complete:
            return False
        self._position = 0
        return True

    def last(self, count: int, since: int) -> list[Entry] | None:
        """The last lines not older than ``since``, after which ``read`` goes on; None if not all are here."""
        found = self._feed.tape.last(count, since)
        if found is None:
            return None
        entries, self._position = found
        return entries

    def resume(self) -> bool:
        """Have the log read, if it is not; False when that must be tried again."""
        return self._feed.resume()

    def read(self) -> tuple[list[Entry], int]:
        """What came since the last time, and how many lines were lost before it."""
        entries, self._position, missed = self._feed.tape.read(self._position)
        return entries, missed

    def leave(self) -> None:
        """Give the place up; the last one ends the feed."""
        self._hub.leave(self._feed, self._bell)


class LogHub:
    """All feeds, and the one subscription to the Engine's events; safe for many threads."""

    def __init__(self, engine: Engine, limits: HubLimits | None = None) -> None:
        self.engine = engine
        self._limits = limits or HubLimits()
        self._lock = threading.Lock()
        self._feeds: dict[str, Feed] = {}
        self._watchers: tuple[tuple[Bell, Callable[[EngineEvent], bool]], ...] = ()
        self._unsubscribe: Callable[[], None] | None = None
        self._entrance = threading.BoundedSemaphore(_ENTRANCE)

    @property
    def idle(self) -> bool:
        """Whether nobody follows anything: no connection, no thread, no subscription."""
        with self._lock:
            return not self._feeds and not self._watchers and self._unsubscribe is None

    @property
    def followers(self) -> int:
        """How many follow."""
        return len(self._watchers)

    def watch(self, bell: Bell, concerns: Callable[[EngineEvent], bool]) -> Callable[[], None]:
        """Ring at Engine events that ``concerns`` (quick, on the Engine's thread) says yes to.

        Returns the way to stop.
        """
        watcher = (bell, concerns)
        with self._lock:
            self._watchers = (*self._watchers, watcher)
            if self._unsubscribe is None:
                self._unsubscribe = self.engine.subscribe(self._on_event)

        def stop() -> None:
            with self._lock:
                self._watchers = tuple(other for other in self._watchers if other is not watcher)
                if self._watchers or self._unsubscribe is None:
                    return
                unsubscribe, self._unsubscribe = self._unsubscribe, None
                unsubscribe()

        return stop

    def join(self, container: Container, bell: Bell, *, whole: bool = False, tail: int = 0) -> Seat:
        """A seat at a container's log, before its first new line.

        With ``whole`` the log is read from its beginning, when nobody reads it yet; else its last
        ``tail`` lines are kept, as far as they fit.
        """
        with self._lock:
            feed = self._feeds.get(container.id)
            if feed is None or feed.failure is not None:
                feed = self._feeds[container.id] = Feed(self.engine, container, self._limits)
            feed.members = (*feed.members, bell)
        try:
            feed.prepare(whole=whole, tail=tail)
        except BaseException:
            self.leave(feed, bell)
            raise
        return Seat(self, feed, bell)

    def leave(self, feed: Feed, bell: Bell) -> None:
        """Take a follower from a feed; used by its seat."""
        with self._lock:
            feed.members = tuple(other for other in feed.members if other is not bell)
            last = not feed.members
            if last and self._feeds.get(feed.container.id) is feed:
                del self._feeds[feed.container.id]
        if last:
            feed.close()

    @contextlib.contextmanager
    def entrance(self) -> Iterator[None]:
        """Let a few followers begin at a time, so that a hundred at once slow nobody else down.

        With an Engine that hangs they stop waiting for one another after a while.
        """
        entered = self._entrance.acquire(timeout=_ENTRANCE_WAIT)
        try:
            yield
        finally:
            if entered:
                self._entrance.release()

    def _on_event(self, event: EngineEvent) -> None:
        # On the Engine's thread, which may hold its own locks: no lock of ours here.
        if event.action == "start" and (feed := self._feeds.get(event.container_id)) is not None:
            feed.wanted, feed.started = True, time.monotonic()
        for bell, concerns in self._watchers:
            if concerns(event):
                bell.ring(changed=True)
