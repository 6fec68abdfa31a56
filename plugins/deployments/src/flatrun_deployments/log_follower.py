"""One client following logs: the last lines first, then every new one, through restarts and recreation."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from flatrun_core import DockerUnavailable, Failed, FlatrunError, NotFound, ServerEvent
from flatrun_core.ports.docker import Container, EngineEvent, LogLine
from flatrun_deployments.log_gate import Gate
from flatrun_deployments.log_hub import Bell, LogHub, Seat
from flatrun_deployments.log_tape import entry, skipped
from flatrun_deployments.log_text import MAX_TAIL, last_lines, nanoseconds, unreadable

# States in which a container may write, and those in which it does not count as stopped.
_WRITING: Final = frozenset({"running", "paused"})
_ALIVE: Final = _WRITING | {"restarting"}
# A container that was only created has no log, and its name may be another's until it starts.
_NO_LOG: Final = "created"
_BATCH_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Timing:
    """How a stream behaves in time, all in seconds.

    ``idle``: the longest silence towards the server. ``pause``: the shortest time between two
    batches. ``stopped``: how long everything stays stopped before the stream ends. ``look``: how
    often to look at the containers without an event; ``settle``: once more after one, because the
    Engine's list may lag behind its events.
    """

    idle: float = 1.0
    pause: float = 0.1
    stopped: float = 10.0
    look: float = 10.0
    settle: float = 0.5


class Source(Protocol):
    """What a stream follows."""

    def containers(self) -> Sequence[Container]:
        """The containers it has now; 503 with Docker down."""

    def exists(self) -> bool:
        """Whether it still exists; asked while nothing of it runs, and now and then."""

    def concerns(self, event: EngineEvent) -> bool:
        """Whether an event may change the containers; quick, on the Engine's thread."""


@dataclass(frozen=True, slots=True)
class Batch(ServerEvent):
    """Several events in one piece: a client behind gets few large writes instead of many small ones."""

    wire: bytes

    def encode(self) -> bytes:
        """The events, one after another."""
        return self.wire


def batches(wires: Iterable[bytes]) -> Iterator[Batch]:
    """Events put together to pieces of about 64 KiB."""
    pieces: list[bytes] = []
    size = 0
    for wire in wires:
        pieces.append(wire)
        size += len(wire)
        if size >= _BATCH_BYTES:
            yield Batch("log", {}, b"".join(pieces))
            pieces, size = [], 0
    if pieces:
        yield Batch("log", {}, b"".join(pieces))


@dataclass(slots=True)
class _Place:
    """A container that is followed; without a seat when its log cannot be read."""

    container: Container
    seat: Seat | None = None
    gate: Gate | None = None

    def read(self) -> list[tuple[int, bytes]]:
        """What is new, with times that never go back."""
        if self.seat is None:
            return []
        entries, missed = self.seat.read()
        found = [(0, skipped(missed))] if missed else []
        newest = 0
        for line in entries:
            if self.gate is None or self.gate.passes(line):
                newest = max(newest, line.moment)
                found.append((newest, line.wire))
        return found

    def leave(self) -> None:
        """Give the seat up."""
        if self.seat is not None:
            self.seat.leave()
            self.seat = None


class Follower:
    """The events of one stream; ``events`` is used once, by one thread."""

    def __init__(
        self, hub: LogHub, source: Source, tail: int, since: str | None = None, timing: Timing | None = None
    ) -> None:
        self._hub = hub
        self._source = source
        self._tail = tail
        self._since = since
        self._timing = timing or Timing()
        self._bell = Bell()
        self._places: dict[str, _Place] = {}
        self._next_look = 0.0
        self._alive = True
        self._stopped_at = 0.0
        self._deleted = False

    def events(self) -> Iterator[ServerEvent | None]:
        """Events, and None at least once a second; closing it gives everything back.

        What is wrong before the first item is raised as it is, and so is Docker gone later.
        """
        stop = self._hub.watch(self._bell, self._source.concerns)
        try:
            yield from self._history()
            yield None
            yield from self._live()
        finally:
            stop()
            for place in self._places.values():
                place.leave()

    # --- the last lines ---

    def _history(self) -> Iterator[Batch]:
        logs: list[tuple[Container, Sequence[LogLine]]] = []
        refused: list[FlatrunError] = []
        for container in self._source.containers():
            if container.state == _NO_LOG:
                continue
            try:
                logs.append((container, self._attach(container)))
            except NotFound:
                continue
            except Failed as exc:
                refused.append(exc)
                logs.append((container, [unreadable(exc)]))
        if refused and len(refused) == len(logs):
            raise refused[0]
        came_since = self._look()
        yield from batches(entry(*line).wire for line in last_lines(logs, self._tail))
        yield from batches(came_since)

    def _attach(self, container: Container) -> list[LogLine]:
        """Take a seat, then fetch the last lines: what comes in between is on the tape."""
        place = self._places[container.id] = _Place(container)
        place.seat = self._hub.join(container, self._bell, whole=False)
        try:
            lines = self._hub.history(container.id, self._tail, self._since)
        except BaseException:
            place.leave()
            raise
        place.gate = Gate(container, lines, nanoseconds(self._since) if self._since else 0)
        return lines

    def _attach_new(self, container: Container) -> list[LogLine]:
        """Take a seat at a container that came later, at the beginning of its log."""
        place = self._places[container.id] = _Place(container)
        place.seat = self._hub.join(container, self._bell, whole=True)
        place.seat.resume()
        if place.seat.rewind():
            return []
        try:
            lines = self._hub.history(container.id, MAX_TAIL, None)
        except BaseException:
            place.leave()
            raise
        place.gate = Gate(container, lines)
        return lines

    # --- live ---

    def _live(self) -> Iterator[ServerEvent | None]:
        timing, sent = self._timing, 0.0
        while True:
            time.sleep(max(0.0, sent + timing.pause - time.monotonic()))
            changed = self._bell.wait(max(0.01, min(timing.idle, self._next_look - time.monotonic())))
            wires = self._look(changed=changed) if changed or time.monotonic() >= self._next_look else []
            wires += self._collect()
            for batch in batches(wires):
                yield batch
                sent = time.monotonic()
            self._check_failures()
            if (reason := self._end()) is not None:
                yield ServerEvent("end", {"reason": reason})
                return
            if not wires:
                yield None

    def _look(self, *, changed: bool = False) -> list[bytes]:
        """See which containers there are, and have those read that write; what new ones wrote so far."""
        due = time.monotonic() >= self._next_look
        containers = self._source.containers()
        wires = [wire for c in containers if self._is_new(c) for wire in self._welcome(c)]
        unread = [container for container in containers if not self._have_read(container)]
        wires += self._dismiss({container.id for container in containers})
        alive = any(container.state in _ALIVE for container in containers)
        if self._alive and not alive:
            self._stopped_at = time.monotonic()
        self._alive = alive
        self._deleted = (due or not alive) and not self._source.exists()
        timing = self._timing
        calm = timing.look if alive else timing.idle
        self._next_look = time.monotonic() + (timing.settle if changed or unread else calm)
        return wires

    def _is_new(self, container: Container) -> bool:
        return container.id not in self._places and container.state != _NO_LOG

    def _welcome(self, container: Container) -> list[bytes]:
        try:
            lines = self._attach_new(container)
        except NotFound:
            lines = []
        except Failed as exc:
            lines = [unreadable(exc)]
        return [entry(container, line).wire for line in lines]

    def _have_read(self, container: Container) -> bool:
        """Have a container's log read when it writes, or did; False when that must be tried again."""
        place = self._places.get(container.id)
        if place is None or place.seat is None or place.seat.running:
            return True
        if container.state not in _WRITING and not place.seat.wanted:
            return True
        return place.seat.resume()

    def _dismiss(self, present: set[str]) -> list[bytes]:
        """Leave containers that are gone, once everything they wrote has been read."""
        wires: list[bytes] = []
        for gone in self._places.keys() - present:
            place = self._places[gone]
            if place.seat is None or not place.seat.running:
                wires += [wire for _, wire in place.read()]
                place.leave()
                del self._places[gone]
        return wires

    def _collect(self) -> list[bytes]:
        """Everything new of every container, by time."""
        found = [item for place in self._places.values() for item in place.read()]
        found.sort(key=lambda item: item[0])
        return [wire for _, wire in found]

    def _check_failures(self) -> None:
        for place in self._places.values():
            failure = place.seat.failure if place.seat is not None else None
            if isinstance(failure, DockerUnavailable):
                raise failure
            if failure is not None:
                place.leave()

    def _end(self) -> str | None:
        if self._deleted:
            return "deleted"
        stopped = not self._alive and time.monotonic() - self._stopped_at >= self._timing.stopped
        return "stopped" if stopped else None
