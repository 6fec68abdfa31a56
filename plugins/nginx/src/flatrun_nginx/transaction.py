"""Stage, test, leave out what is broken, swap: the one way to nginx's files."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flatrun_core import Failed
from flatrun_core.ports.programs import Completed
from flatrun_nginx import blame, generation, quarantine
from flatrun_nginx.files import Files
from flatrun_nginx.journal import Move, Places, Swap
from flatrun_nginx.layout import CONF, LUA, Layout
from flatrun_nginx.live import SUFFIXES, LiveFile
from flatrun_nginx.quarantine import Quarantined
from flatrun_nginx.staging import Staging

log = logging.getLogger(__name__)

# Tests a main file; None when there is nothing to test it with.
Test = Callable[[str], Completed | None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to become of the folder.

    ``wanted`` are our files by name, ``live`` what stands there, ``held`` what was refused before,
    ``retried`` the names among those that are tried again, ``broken`` sites that could not even be
    rendered (file name to reason), ``names`` the deployments of files that are not called like one,
    ``changed`` the names of files whose refusal is the caller's,
    ``shared`` those that no site can be blamed for; ``default`` makes ``default.conf`` for the other files
    of ours, ``without`` a site's file without the certificate that has a path, for the reason that nginx
    gives, or None.
    """

    wanted: Mapping[str, str]
    live: Mapping[str, LiveFile]
    held: Mapping[str, Quarantined] = field(default_factory=dict)
    retried: Collection[str] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    changed: Collection[str] = ()
    shared: Collection[str] = ()
    lua: Mapping[str, str] = field(default_factory=dict)
    private: Collection[str] = ()
    main: Callable[[str], str] = lambda folder: folder
    check: Callable[[str], str] = lambda name: ""
    default: Callable[[Mapping[str, str]], str] = lambda files: ""
    without: Callable[[str, str, str], str | None] = lambda name, path, reason: None


@dataclass(frozen=True, slots=True)
class Outcome:
    """``quarantined`` is everything left out now; ``tested`` whether nginx looked at the set."""

    changed: bool
    tested: bool
    quarantined: Mapping[str, Quarantined]


class Transaction:
    """One apply. Raises ``Failed`` ``PROXY_CONFIG_FAILED`` with nothing changed."""

    def __init__(self, order: Order, layout: Layout, files: Files, test: Test) -> None:
        self._order = order
        self._layout = layout
        self._files = files
        self._test = test
        self._staging = Staging(layout, files)
        self._swap = Swap(Places(layout.conf, layout.lua), files)
        self._wanted = dict(order.wanted)
        self._new: set[str] = set()
        self._refused: dict[str, Quarantined] = {}
        self._refused_texts: dict[str, str] = {}

    def run(self) -> Outcome:
        """Do all of it. A staging folder that a crash leaves is removed at the next start."""
        try:
            outcome = self._run()
        except OSError as exc:
            self._staging.drop()
            reason = exc.strerror or type(exc).__name__
            raise Failed(
                f"nginx's files could not be written, so everything is as it was: {reason}",
                code="PROXY_CONFIG_FAILED",
                details=self._layout.told(str(exc)),
            ) from exc
        except Exception:
            self._staging.drop()
            raise
        self._staging.drop()
        return outcome

    def _run(self) -> Outcome:
        self._stage()
        tested = self._try()
        moves = self._moves()
        if moves:
            self._swap.run(self._staging.folder, moves)
        changed = any(move.target.startswith("lua/") or move.target.endswith(SUFFIXES) for move in moves)
        return Outcome(changed, tested, self._held_now())

    def _stage(self) -> None:
        order, staging = self._order, self._staging
        staging.build(order.lua, order.private)
        staging.write_main(order.main(staging.seen))
        for name, reason in order.broken.items():
            before = order.held.get(name)
            if before is None or before.reason != reason or name in order.live:
                self._refuse(name, reason, "")
        for name, text in order.wanted.items():
            self._stage_wanted(name, text)
        for name, file in order.live.items():
            if not file.ours and name not in order.wanted:
                staging.keep(name, self._layout.conf / name, file.text or "")
        for name in order.retried:
            if order.held[name].foreign and name not in order.wanted and name not in order.live:
                self._readmit(name)

    def _stage_wanted(self, name: str, text: str) -> None:
        live = self._order.live.get(name)
        if live is not None and live.text == text:
            self._staging.keep(name, self._layout.conf / name, text)
        elif name not in self._order.held or name in self._order.retried:
            self._add(name, text)

    def _add(self, name: str, text: str) -> None:
        self._staging.add(name, text)
        self._new.add(name)
        reason = self._order.check(name)
        if reason:
            self._staging.leave_out(name)
            self._refuse(name, reason, text)

    def _readmit(self, name: str) -> None:
        path = self._layout.conf / f"{name}{quarantine.SUFFIX}"
        if path.exists():
            self._staging.adopt(name, path, path.read_text("utf-8", "replace"))
            self._new.add(name)

    def _try(self) -> bool:
        while (done := self._test(self._staging.main)) is not None:
            if done.returncode == 0:
                return True
            self._blame(done)
        return False

    def _blame(self, done: Completed) -> None:
        shown = blame.readable(done.output, self._staging.seen, CONF)
        shown = shown.replace(f"{CONF}/{self._staging.folder.name}/lua", LUA)
        if f'open() "{self._staging.main}" failed' in done.output:
            raise refusal(f"its container does not have nginx's folder conf.d mounted at {CONF}")
        guilty = blame.blamed(done.output, self._staging.seen, self._staging.texts) or self._search()
        if not guilty or set(guilty) & set(self._order.shared):
            raise refusal(shown)
        for name in guilty:
            if self._serve_plain(name, done.output):
                continue
            text = self._staging.texts[name]
            self._staging.leave_out(name)
            self._refuse(name, blame.fatal(shown), text, shown)

    def _serve_plain(self, name: str, output: str) -> bool:
        """Do without a certificate that is to blame, where it is one of that site's."""
        for path in blame.quoted(output):
            text = self._order.without(name, path, blame.fatal(output))
            if text is not None:
                self._restage(name, text)
                return True
        return False

    def _restage(self, name: str, text: str) -> None:
        self._wanted[name] = text
        default = self._order.default(self._wanted)
        for one, its in ((name, text), (generation.FILE, default)):
            self._staging.leave_out(one)
            self._new.discard(one)
            self._stage_wanted(one, its)

    def _search(self) -> list[str]:
        """The file without which nginx would not complain, where it does not say itself which it is.

        The first one, in their order, with which a set fails; found by halving. None where even the
        files that all share fail.
        """
        shared = [name for name in self._staging.texts if name in self._order.shared]
        others = sorted(self._staging.texts.keys() - set(shared))
        low, high = 0, len(others)
        if not self._passes(shared):
            high = 0
        while high - low > 1:
            middle = (low + high) // 2
            if self._passes([*shared, *others[:middle]]):
                low = middle
            else:
                high = middle
        self._staging.only(list(self._staging.texts))
        return others[low:high]

    def _passes(self, names: Collection[str]) -> bool:
        self._staging.only(names)
        done = self._test(self._staging.main)
        return done is None or done.returncode == 0

    def _refuse(self, name: str, reason: str, text: str, output: str = "") -> None:
        if name in self._order.changed:
            raise refusal(output or reason)
        order = self._order
        foreign = name not in order.wanted and name not in order.broken
        deployment = order.names.get(name, name.removesuffix(".conf"))
        self._refused[name] = Quarantined(name, deployment, reason, time.time(), foreign)
        self._refused_texts[name] = text
        log.warning("nginx: %s is left out: %s", name, reason)

    def _moves(self) -> Sequence[Move]:
        order = self._order
        moves = list(self._staging.lua_moves(order.lua))
        for name in sorted(self._new - self._refused.keys()):
            moves += [*self._copy_of_edited(name), Move(f"new/{name}", name)]
        for name in sorted(self._refused):
            moves += self._set_aside(name)
        for name, file in order.live.items():
            if file.ours and name not in order.wanted and name not in order.broken:
                moves += [*self._copy_of_edited(name), Move("", name)]
        for name, held in order.held.items():
            if name not in self._refused:
                moves += self._released(name, held)
        return moves

    def _released(self, name: str, held: Quarantined) -> list[Move]:
        """What removes the traces of a file that is served again, or that nobody wants any more."""
        both = [Move("", f"{name}{suffix}") for suffix in (quarantine.SUFFIX, quarantine.REASON)]
        if name in self._new:
            return both
        if name in self._order.live:
            # Somebody put it back by hand; his other copy is his.
            return both[1:] if held.foreign else both
        wanted = name in self._order.wanted or name in self._order.broken
        return [] if held.foreign or wanted else both

    def _set_aside(self, name: str) -> list[Move]:
        held = self._refused[name]
        target, record = f"{name}{quarantine.SUFFIX}", f"{name}{quarantine.REASON}"
        moves = [Move(self._staging.note(record, held.record()), record)]
        if held.foreign and name in self._order.live:
            moves.insert(0, Move(self._staging.preserve(target, self._layout.conf / name), target))
        elif not held.foreign:
            moves.insert(0, Move(self._staging.note(target, self._refused_texts[name]), target))
        if name in self._order.live:
            moves += [*(() if held.foreign else self._copy_of_edited(name)), Move("", name)]
        return moves

    def _copy_of_edited(self, name: str) -> list[Move]:
        live = self._order.live.get(name)
        if live is None or live.untouched:
            return []
        copy = f"{name}.edited-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(live.modified))}"
        log.warning("nginx: %s was changed by hand; it is kept as %s", name, copy)
        return [Move(self._staging.preserve(copy, self._layout.conf / name), copy)]

    def _held_now(self) -> Mapping[str, Quarantined]:
        order = self._order
        still = {
            name: held
            for name, held in order.held.items()
            if name not in self._new
            and name not in order.live
            and (held.foreign or name in order.wanted or name in order.broken)
        }
        return {**still, **self._refused}


def refusal(output: str) -> Failed:
    """The error of a set that nginx refuses, with its own words as ``details``."""
    return Failed(
        f"nginx refuses the configuration: {blame.fatal(output)}", code="PROXY_CONFIG_FAILED", details=output
    )
