"""One client following logs: the last lines first, then every new one, through restarts and recreation."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from flatrun_core import DockerUnavailable, Failed, FlatrunError, NotFound, ServerEvent
from flatrun_core.ports.docker import Container, EngineEvent
from flatrun_deployments.log_gate import Gate
from flatrun_deployments.log_hub import Bell, LogHub, Seat
from flatrun_deployments.log_tape import Entry, entry, skipped
from flatrun_deployments.log_text import MAX_TAIL, nanoseconds, unreadable

# States in which a container may write, and those in which it does not count as stopped.
_WRITING: Final = frozenset({"running", "paused"})
_ALIVE: Final = _WRITING | {"restarting"}
# A container that was only created has no log, and its name may be another's until it starts.
_NO_LOG: Final = "created"
_BATCH_BYTES: Final = 64 * 1024
# With many followers the pauses between their batches grow: 400 batches a second in all.
_WRITE_SHARE: Final = 1 / 400


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


def merged(logs: Iterable[Sequence[Entry]]) -> list[Entry]:
    """The entries of several containers by time; the order within a container stays."""
    filled = [entries for entries in logs if entries]
    if len(filled) <= 1:
        return list(filled[0]) if filled else []
    timed: list[tuple[int, Entry]] = []
    for entries in filled:
        newest = 0
        for one in entries:
            newest = max(newest, one.moment)
            timed.append((newest, one))
    timed.sort(key=lambda item: item[0])
    return [one for _, one in timed]


@dataclass(slots=True)
class _Place:
    """A container that is followed; without a seat when its log cannot be read."""

    container: Container
    seat: Seat | None = None
    gate: Gate | None = None

    def read(self) -> list[Entry]:
        """What is new; raises when Docker is gone, and says so when the log cannot be read."""
        if self.seat is None:
            return []
        failure = self.seat.failure
        found, missed = self.seat.read()
        if self.gate is not None and found:
            newest = found[-1].moment
            found = [line for line in found if self.gate.passes(line)]
            if self.gate.over(newest):
                self.gate = None
        if missed:
            found.insert(0, Entry(0, "", skipped(missed)))
        if isinstance(failure, DockerUnavailable) and not found:
            raise failure
        if failure is not None and not isinstance(failure, DockerUnavailable):
            found.append(entry(self.container, unreadable(failure)))
            self.leave()
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
        """The last lines over all containers, and what came while they were fetched."""
        with self._hub.entrance():
            logs = self._attach_all()
            came_since = self._look()
        lines = merged(logs)
        yield from batches(line.wire for line in lines[max(0, len(lines) - self._tail) :])
        yield from batches(line.wire for line in came_since)

    def _attach_all(self) -> list[list[Entry]]:
        logs: list[list[Entry]] = []
        refused: list[FlatrunError] = []
        for container in self._source.containers():
            if container.state == _NO_LOG:
                continue
            try:
                logs.append(self._attach(container))
            except NotFound:
                continue
            except Failed as exc:
                refused.append(exc)
                logs.append([entry(container, unreadable(exc))])
        if refused and len(refused) == len(logs):
            raise refused[0]
        return logs

    def _attach(self, container: Container) -> list[Entry]:
        """Take a seat, then see the last lines; what comes in between is on the tape."""
        place = self._places[container.id] = _Place(container)
        place.seat = self._hub.join(container, self._bell, tail=self._tail)
        since = nanoseconds(self._since) if self._since else 0
        lines = place.seat.last(self._tail, since)
        if lines is None:
            lines = self._fetch(container, place, self._tail, self._since)
            place.gate = Gate(lines, since)
        return lines

    def _attach_new(self, container: Container) -> list[Entry]:
        """Take a seat at a container that came later, at the beginning of its log."""
        place = self._places[container.id] = _Place(container)
        place.seat = self._hub.join(container, self._bell, whole=True)
        place.seat.resume()
        if place.seat.rewind():
            return []
        lines = self._fetch(container, place, MAX_TAIL, None)
        place.gate = Gate(lines)
        return lines

    def _fetch(self, container: Container, place: _Place, tail: int, since: str | None) -> list[Entry]:
        try:
            return [
                entry(container, line) for line in self._hub.engine.logs(container.id, tail=tail, since=since)
            ]
        except BaseException:
            place.leave()
            raise

    # --- live ---

    def _live(self) -> Iterator[ServerEvent | None]:
        timing, sent = self._timing, 0.0
        while True:
            time.sleep(max(0.0, sent + self._pause() - time.monotonic()))
            changed = self._bell.wait(max(0.01, min(timing.idle, self._next_look - time.monotonic())))
            lines = self._look(changed=changed) if changed or time.monotonic() >= self._next_look else []
            lines += self._collect()
            for batch in batches(line.wire for line in lines):
                yield batch
                sent = time.monotonic()
            if (reason := self._end()) is not None:
                yield ServerEvent("end", {"reason": reason})
                return
            if not lines:
                yield None

    def _pause(self) -> float:
        """How long to wait between two batches: the more follow, the longer, so that their sum stays."""
        return max(self._timing.pause, self._hub.followers * _WRITE_SHARE)

    def _look(self, *, changed: bool = False) -> list[Entry]:
        """See which containers there are, and have those read that write; what new ones wrote so far."""
        due = time.monotonic() >= self._next_look
        containers = self._source.containers()
        lines = [line for c in containers if self._is_new(c) for line in self._welcome(c)]
        unread = [container for container in containers if not self._have_read(container)]
        lines += self._dismiss({container.id for container in containers})
        alive = any(container.state in _ALIVE for container in containers)
        if self._alive and not alive:
            self._stopped_at = time.monotonic()
        self._alive = alive
        self._deleted = (due or not alive) and not self._source.exists()
        timing = self._timing
        calm = timing.look if alive else timing.idle
        self._next_look = time.monotonic() + (timing.settle if changed or unread else calm)
        return lines

    def _is_new(self, container: Container) -> bool:
        return container.id not in self._places and container.state != _NO_LOG

    def _welcome(self, container: Container) -> list[Entry]:
        try:
            return self._attach_new(container)
        except NotFound:
            return []
        except Failed as exc:
            return [entry(container, unreadable(exc))]

    def _have_read(self, container: Container) -> bool:
        """Have a container's log read when it writes, or did; False when that must be tried again."""
        place = self._places.get(container.id)
        if place is None or place.seat is None or place.seat.running:
            return True
        if container.state not in _WRITING and not place.seat.wanted:
            return True
        return place.seat.resume()

    def _dismiss(self, present: set[str]) -> list[Entry]:
        """Leave containers that are gone, once everything they wrote has been read."""
        lines: list[Entry] = []
        for gone in self._places.keys() - present:
            place = self._places[gone]
            if place.seat is None or not place.seat.running:
                lines += place.read()
                place.leave()
                del self._places[gone]
        return lines

    def _collect(self) -> list[Entry]:
        """Everything new of every container, by time."""
        return merged([place.read() for place in self._places.values()])

    def _end(self) -> str | None:
        if self._deleted:
            return "deleted"
        if self._alive:
            return None
        starts = [place.seat.started for place in self._places.values() if place.seat is not None]
        quiet = time.monotonic() - max(self._stopped_at, *starts, 0.0)
        return "stopped" if quiet >= self._timing.stopped else None
