"""One apply: what is wanted, what there is, and what becomes of nginx afterwards."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from flatrun_core import Failed, FlatrunError
from flatrun_core.ports.programs import Completed
from flatrun_core.ports.proxy import Applied, Site
from flatrun_nginx import compose_file, fragments, quarantine, token
from flatrun_nginx.attempts import Failure
from flatrun_nginx.container import ABSENT, LOOPING, PAUSED, UNREACHABLE, is_gone
from flatrun_nginx.environment import Environment
from flatrun_nginx.fragments import Fragments
from flatrun_nginx.image_facts import UNKNOWN, ImageFacts, need_lua
from flatrun_nginx.journal import Places, Swap
from flatrun_nginx.live import LiveFile
from flatrun_nginx.quarantine import Quarantined
from flatrun_nginx.refused_certificates import RefusedCertificates
from flatrun_nginx.rendering import Frame, Scene
from flatrun_nginx.staging import read_lua
from flatrun_nginx.transaction import Order, Outcome, Transaction, refusal
from flatrun_nginx.wanted_set import WantedSet
from flatrun_nginx.workshop import Workshop

log = logging.getLogger(__name__)

_WHY: Final = {
    ABSENT: "there is no container of that name",
    LOOPING: "its container starts again and again",
    UNREACHABLE: "the Docker Engine cannot be asked",
    PAUSED: "its container is paused: `docker unpause {name}` lets it go on",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of the container: made and started, or made anew, perhaps of another image.

    ``waiting`` says that this failed a moment ago, and is not tried again yet; ``blind`` that the container
    has other mounts than it should, so that nothing can be tested in it.
    """

    facts: ImageFacts
    starting: bool = False
    recreate: bool = False
    other_image: bool = False
    waiting: bool = False
    blind: bool = False

    @property
    def apart(self) -> bool:
        """Whether there is no container to test in but one of the image that is to be used."""
        return self.starting or self.recreate or self.other_image

    @property
    def anew(self) -> bool:
        """Whether compose makes a container."""
        return self.apart and not self.waiting


class Operation:
    """An apply in its steps."""

    def __init__(
        self,
        workshop: Workshop,
        environment: Environment,
        wanted: Sequence[Site],
        changed: Collection[str],
        force: bool,
    ) -> None:
        self._shop = workshop
        self._env = environment
        self._sites = wanted
        self._changed = frozenset(changed)
        self._force = force
        self._certificates = RefusedCertificates(environment.layout, wanted, force=force)
        self._state = workshop.container.look(environment.settings.container_name)
        self._swap = Swap(Places(environment.layout.conf, environment.layout.lua), workshop.files)
        self._plan = Plan(UNKNOWN)
        self._trouble = ""

    def run(self) -> Applied:
        """All of it. Raises ``Failed`` ``PROXY_CONFIG_FAILED`` with everything as it was."""
        try:
            self._plan = self._prepare()
            outcome = self._transact()
            self._certificates.keep(self._shop.files)
        except OSError as exc:
            reason = exc.strerror or type(exc).__name__
            raise Failed(
                f"nginx's files cannot be used: {reason}",
                code="PROXY_CONFIG_FAILED",
                details=self._env.layout.told(str(exc)),
            ) from exc
        reloaded = self._tell(outcome)
        if reloaded or self._state.may_read_later:
            self._swap.done()
        return self._applied(outcome, reloaded)

    def _prepare(self) -> Plan:
        shop, env, state = self._shop, self._env, self._state
        ours = not env.settings.external
        starting = ours and state.may_be_started and bool(self._sites)
        other_image = ours and state.is_of(env.settings) and not state.has_image(env.settings)
        failure = self._failed_before()
        if failure is not None:
            self._trouble = failure.message
            starting, other_image = starting and not failure.of_image, False
        facts = None
        if (starting or other_image) and failure is None:
            facts = self._asked_image()
            starting, other_image = starting and facts is not None, other_image and facts is not None
        facts = facts or self._asked_container()
        mark = shop.preparation.prepare(env, facts)
        replaceable = ours and not self._trouble and bool(mark) and state.is_of(env.settings)
        blind = replaceable and self._is_blind(facts)
        recreate = replaceable and (blind or state.mark not in ("", mark))
        return Plan(facts, starting, recreate, other_image, waiting=failure is not None, blind=blind)

    def _is_blind(self, facts: ImageFacts) -> bool:
        """Whether the container has other mounts than it should."""
        found = self._shop.container.mounts(self._state)
        return found is not None and found != compose_file.mounted(self._env.layout, facts.conf_path)

    def _failed_before(self) -> Failure | None:
        """What kept the container from being made a moment ago, and would do so again."""
        if self._force or self._shop.strict:
            return None
        return self._shop.attempts.last(self._env, self._state)

    def _asked_image(self) -> ImageFacts | None:
        """What the image is that a container is to be made of; None, with the trouble kept, without it."""
        try:
            return self._shop.preparation.image(self._env)
        except FlatrunError as exc:
            self._fail(exc, of_image=True)
            return None

    def _asked_container(self) -> ImageFacts:
        """What the image is of the container that runs, or what was known last."""
        preparation = self._shop.preparation
        try:
            return preparation.running(self._env, self._state)
        except FlatrunError as exc:
            if not is_gone(exc):
                raise
            self._state = self._shop.container.look(self._env.settings.container_name)
            return preparation.last(self._env)

    def _fail(self, exc: FlatrunError, *, of_image: bool = False) -> None:
        """Keep why nginx could not be made or started; who changes settings must know at once."""
        if self._shop.strict:
            raise exc
        self._shop.attempts.failed(exc, self._env, self._state, of_image=of_image)
        log.warning("nginx: %s", exc.message)
        self._trouble = exc.message

    def _transact(self) -> Outcome:
        shop, layout = self._shop, self._env.layout
        given = shop.ctx.hooks.gather("flatrun_gather_nginx_fragments", sites=tuple(self._sites))
        pieces = fragments.collect(given)
        if pieces.lua:
            need_lua(self._plan.facts, self._env.settings.image)
        order = self._order(pieces)
        for name in sorted(order.broken.keys() & set(order.changed)):
            raise refusal(order.broken[name])
        standing = {(name, file.stamp) for name, file in order.live.items() if not file.ours}
        if not (self._force or self._needed(order, standing)):
            return Outcome(False, False, order.held)
        outcome = Transaction(order, layout, shop.files, self._test).run()
        if outcome.tested:
            shop.tested = frozenset(one for one in standing if one[0] not in outcome.quarantined)
        return outcome

    def _order(self, pieces: Fragments) -> Order:
        shop, env = self._shop, self._env
        layout = env.layout
        scene = Scene(self._frame(pieces), pieces, layout)
        found = WantedSet(self._sites, scene, shop.rendered, self._certificates)
        secret = token.obtain(layout.state, env.settings.internal_api_token) if pieces.files else ""
        live = shop.live.read(layout.conf)
        found.trust(live)
        held = quarantine.read(layout.conf)
        changed = {name for name, deployment in found.names.items() if deployment in self._changed}

        def without(name: str, path: str, reason: str) -> str | None:
            there = live.get(name)
            served = (there and there.text) or ""
            return found.without(name, (path, reason), served if name in changed else None)

        return Order(
            wanted=found.texts,
            live=live,
            held=held,
            retried={name for name, one in held.items() if self._retried(one, found.texts, live, changed)},
            broken=found.broken,
            names=found.names,
            changed=changed,
            shared=found.shared,
            lua=pieces.files,
            private={name for name, text in pieces.files.items() if secret and secret in text},
            main=lambda folder: shop.preparation.staged_main(self._plan.facts, folder),
            check=found.check,
            default=found.default,
            without=without,
        )

    def _frame(self, pieces: Fragments) -> Frame:
        settings, facts = self._env.settings, self._plan.facts
        return Frame(
            webroot=self._env.layout.webroot,
            ipv6=self._shop.ipv6(),
            http2_directive=facts.http2_directive,
            lua=pieces.lua,
            modules=facts.modules() if pieces.lua else (),
            http_port=settings.http_port,
            https_port=settings.https_port,
            reject_unknown=settings.reject_unknown_domains,
            body_size=settings.client_max_body_size,
        )

    def _retried(
        self,
        held: Quarantined,
        wanted: Mapping[str, str],
        live: Mapping[str, LiveFile],
        changed: Collection[str],
    ) -> bool:
        if self._force or held.name in live or held.name in changed or held.may_be_tried(time.time()):
            return True
        text = wanted.get(held.name)
        return text is not None and text != quarantine.text_of(self._env.layout.conf, held.name)

    def _needed(self, order: Order, standing: Collection[tuple[str, object]]) -> bool:
        """Whether anything is another than it should be, or has not been tested since it changed."""
        held_back = order.held.keys() - set(order.retried)
        texts = {name: text for name, text in order.wanted.items() if name not in held_back}
        ours = {name: file.text for name, file in order.live.items() if file.ours}
        unwanted = {
            name
            for name, one in order.held.items()
            if not one.foreign and name not in order.wanted and name not in order.broken
        }
        broken = {name: one.reason for name, one in order.held.items() if name in order.broken}
        return bool(
            texts != ours
            or order.retried
            or unwanted
            or broken != dict(order.broken)
            or order.lua != read_lua(self._env.layout.lua)
            or self._shop.tested != frozenset(standing)
            or self._state.kind == LOOPING
            or self._plan.anew
        )

    def _test(self, main: str) -> Completed | None:
        """Let nginx judge a main file; None when there is none to ask."""
        args = ("nginx", "-t", "-c", main)
        if self._state.running and not (self._plan.other_image or self._plan.blind):
            try:
                return self._shop.container.execute(self._state, args)
            except FlatrunError as exc:
                if not is_gone(exc):
                    raise
                self._state = self._shop.container.look(self._env.settings.container_name)
                if self._state.running:
                    raise Failed(
                        "nginx ended while it was to test the configuration", code="PROXY_CONFIG_FAILED"
                    ) from exc
        return self._test_apart(args)

    def _test_apart(self, args: tuple[str, ...]) -> Completed | None:
        looping = self._state.kind == LOOPING and not self._env.settings.external
        if not self._plan.apart and not looping:
            return None
        try:
            self._shop.container.ensure_network(self._env.network)
            project = compose_file.project_of(self._env.layout, self._env.settings)
            done = self._shop.container.throw_away(project, args)
        except FlatrunError as exc:
            log.warning("nginx: a configuration could not be tested: %s", exc.message)
            return None
        return done if done.returncode == 0 or "nginx:" in done.output else None

    def _tell(self, outcome: Outcome) -> bool:
        """Start, recreate, restart or reload nginx as it needs; whether it has what was applied."""
        shop, env = self._shop, self._env
        if self._plan.anew:
            return self._start()
        if self._state.kind == LOOPING and outcome.tested and not env.settings.external:
            begun = datetime.now(UTC)
            shop.container.restart(self._state)
            return self._answers(begun)
        if not self._state.running:
            return False
        self._connect()
        if not (outcome.changed or self._force or self._swap.pending):
            return False
        reason = shop.reload(env, self._state)
        if reason:
            self._trouble = f"nginx did not reload: {reason}"
        return not reason

    def _answers(self, begun: datetime) -> bool:
        """Whether one that has just been started serves what was applied."""
        shop, env = self._shop, self._env
        self._state = shop.container.look(env.settings.container_name)
        if not self._state.running:
            return False
        reason = shop.taken(env, self._state, begun, starting=True)
        if reason:
            self._trouble = f"nginx was started and does not serve its configuration: {reason}"
        # It may have ended meanwhile.
        self._state = shop.container.look(env.settings.container_name)
        return self._state.running and not reason

    def _start(self) -> bool:
        shop, env = self._shop, self._env
        begun = datetime.now(UTC)
        try:
            shop.container.start(env, anew=self._plan.blind)
        except FlatrunError as exc:
            self._state = shop.container.look(env.settings.container_name, looks=1)
            self._fail(exc)
            return False
        shop.attempts.forget()
        return self._answers(begun)

    def _connect(self) -> None:
        try:
            self._shop.container.connect(self._state, self._env.network)
        except FlatrunError as exc:
            self._trouble = f"nginx could not be connected to the network {self._env.network}: {exc.message}"
            log.warning("%s", self._trouble)

    def _applied(self, outcome: Outcome, reloaded: bool) -> Applied:
        running = self._state.running
        told = [self._trouble, self._certificates.told()]
        if not running:
            name = self._env.settings.container_name
            why = _WHY.get(self._state.kind, "its container is stopped").format(name=name)
            told.append(f"nginx does not run ({why}); the configuration takes effect when it starts")
        return Applied(
            changed=outcome.changed,
            reloaded=reloaded,
            serving=running and (reloaded or not self._swap.pending),
            message=_sentences(told),
            quarantined={
                one.deployment: one.reason
                for one in sorted(outcome.quarantined.values(), key=lambda one: one.deployment)
            },
        )


def _sentences(told: Sequence[str]) -> str:
    """One text of those that are not empty; the last one's end is left as it is."""
    *first, last = [text for text in told if text] or [""]
    return ". ".join([*(text.rstrip(".") for text in first), last])
