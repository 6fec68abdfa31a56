"""What kept nginx from being made or started, kept so that not every apply runs into it again."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from flatrun_core import FlatrunError
from flatrun_nginx import ports
from flatrun_nginx.container import NginxContainer, State
from flatrun_nginx.environment import Environment

RETRY_AFTER: Final = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Failure:
    """``of_image``: what the image is could not even be asked."""

    message: str
    of_image: bool
    at: float
    circumstances: tuple[object, ...]


class Attempts:
    """The last failure; another one, or a success, takes its place."""

    def __init__(self, container: NginxContainer, clock: Callable[[], float] = time.monotonic) -> None:
        self._container = container
        self._clock = clock
        self._last: Failure | None = None

    def failed(self, exc: FlatrunError, environment: Environment, state: State, *, of_image: bool) -> None:
        """Keep a failure, with how the container does now."""
        found = self._circumstances(environment, state)
        self._last = Failure(exc.message, of_image, self._clock(), found)

    def last(self, environment: Environment, state: State) -> Failure | None:
        """The failure that it would be again: it is recent, and nothing that it hangs on has changed."""
        last = self._last
        if last is None or not last.at <= self._clock() < last.at + RETRY_AFTER:
            return None
        return last if last.circumstances == self._circumstances(environment, state) else None

    def forget(self) -> None:
        """Nothing fails any more."""
        self._last = None

    def _circumstances(self, environment: Environment, state: State) -> tuple[object, ...]:
        settings = environment.settings
        image = self._container.image_id(settings.image)
        taken = [
            ports.is_taken(settings.bind_address, port) for port in (settings.http_port, settings.https_port)
        ]
        return (environment, state.kind, state.id, image, *taken)
