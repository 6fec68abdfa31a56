"""What applies share: the container, the files, and what was learned of both."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from flatrun_core import FlatrunError, PluginContext
from flatrun_nginx import generation
from flatrun_nginx.attempts import Attempts
from flatrun_nginx.container import NginxContainer, State
from flatrun_nginx.environment import Environment
from flatrun_nginx.files import Files
from flatrun_nginx.generation import Watch
from flatrun_nginx.layout import has_ipv6
from flatrun_nginx.live import LiveFolder
from flatrun_nginx.preparation import Preparation
from flatrun_nginx.rendering import Renderer
from flatrun_nginx.sites import Rendered

log = logging.getLogger(__name__)

_NOT_TAKEN: Final = "it goes on with what it had"
_BEFORE: Final = timedelta(seconds=1)


@dataclass
class Workshop:
    """``tested`` are the files of others that nginx has looked at; ``strict`` raises what it cannot do."""

    ctx: PluginContext
    container: NginxContainer
    files: Files
    renderer: Renderer
    preparation: Preparation
    live: LiveFolder
    rendered: Rendered
    attempts: Attempts
    watch: Watch = field(default_factory=Watch)
    tested: frozenset[tuple[str, object]] | None = None
    strict: bool = False
    ipv6: Callable[[], bool] = has_ipv6

    @classmethod
    def equipped(cls, ctx: PluginContext, container: NginxContainer, files: Files) -> "Workshop":
        """One that knows nothing yet."""
        renderer = Renderer()
        return cls(
            ctx=ctx,
            container=container,
            files=files,
            renderer=renderer,
            preparation=Preparation(container, renderer, files),
            live=LiveFolder(),
            rendered=Rendered(renderer),
            attempts=Attempts(container),
        )

    def signal(self, environment: Environment, state: State) -> str:
        """Tell a running nginx to read its files; an empty text, or why it could not be told."""
        if not state.running:
            return "nginx does not run"
        try:
            done = self.container.execute(state, environment.settings.reload_args)
        except FlatrunError as exc:
            reason = exc.message
        else:
            if done.returncode == 0:
                return ""
            reason = done.output.strip() or f"the reload command ended with {done.returncode}"
        log.error("nginx did not reload: %s", reason)
        return reason

    def reload(self, environment: Environment, state: State) -> str:
        """The same, and wait until it answers by its files as they are now."""
        begun = datetime.now(UTC) - _BEFORE
        return self.signal(environment, state) or self.taken(environment, state, begun)

    def taken(
        self, environment: Environment, state: State, begun: datetime, *, starting: bool = False
    ) -> str:
        """Wait until nginx answers by its files; an empty text, or why it does not, by its log since then.

        Where it cannot be reached from here, it is taken at its word.
        """
        wanted = generation.standing(environment.layout.conf)
        places = self.container.endpoints(state, environment.network).http
        if self.watch.sees(wanted, places, starting=starting) is not False:
            return ""
        reason = self.container.last_error(state, begun) or _NOT_TAKEN
        log.error("nginx has not taken over its files: %s", reason)
        return reason
