"""Calls hooks: in plugin order, each implementation guarded as its kind demands.

pluggy's own call stops at the first exception and runs last registered first; what a failure means
is decided here, per kind, and nowhere else (see the table in ``hookspecs.py``).
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pluggy

log = logging.getLogger(__name__)

Results = list[tuple[str, Any]]


class PluginFailure(Exception):
    """A plugin failed at assembly; the reason is fit for its record. ``also`` share the failure."""

    def __init__(
        self, slug: str, reason: str, cause: BaseException | None = None, *, also: tuple[str, ...] = ()
    ) -> None:
        super().__init__(f"{slug}: {reason}")
        self.slug = slug
        self.reason = reason
        self.also = also
        self.__cause__ = cause


class JoinFailed(Exception):
    """A ``join`` stopped at ``slug``; ``done`` are the results so far, for undoing in reverse."""

    def __init__(self, slug: str, cause: Exception, done: Results) -> None:
        super().__init__(f"{slug}: {cause}")
        self.slug = slug
        self.cause = cause
        self.done = done


class PluginHooks:
    """The hooks of one application. ``order`` are the slugs of its plugins in start order."""

    def __init__(self, pm: pluggy.PluginManager, order: Sequence[str]) -> None:
        self._pm = pm
        self._rank = {slug: index for index, slug in enumerate(order)}
        self._contexts: Mapping[str, Any] = {}

    def use_contexts(self, contexts: Mapping[str, Any]) -> None:
        """The context each plugin's implementations get when they ask for ``ctx``."""
        self._contexts = contexts

    def context(self, slug: str) -> Any:
        """The context of one plugin."""
        return self._contexts[slug]

    def register(self, name: str, **kwargs: Any) -> Results:
        """Collect descriptors; a failure raises ``PluginFailure``."""
        collected: Results = []
        for slug, call in self._implementations(name, kwargs):
            try:
                collected.extend((slug, item) for item in call() or ())
            except Exception as exc:
                raise PluginFailure(slug, f"{name} failed: {describe(exc)}", exc) from exc
        return collected

    def gather(self, name: str, **kwargs: Any) -> Results:
        """Collect what each plugin has to say now; a failure stops the operation and propagates."""
        collected: Results = []
        for slug, call in self._implementations(name, kwargs):
            collected.extend((slug, item) for item in call() or ())
        return collected

    def first(self, name: str, **kwargs: Any) -> Any:
        """The first answer that is not None; a failure propagates."""
        for _, call in self._implementations(name, kwargs):
            answer = call()
            if answer is not None:
                return answer
        return None

    def all(self, name: str, *, reverse: bool = False, **kwargs: Any) -> Results:
        """Every plugin in turn, one answer each (None left out); a failure propagates."""
        answers: Results = []
        for slug, call in self._implementations(name, kwargs, reverse=reverse):
            answer = call()
            if answer is not None:
                answers.append((slug, answer))
        return answers

    def join(
        self, name: str, *, on_error: Callable[[str, Exception], None] | None = None, **kwargs: Any
    ) -> Results:
        """Every plugin takes part in an operation, one answer each (None left out).

        A failure raises ``JoinFailed`` with the answers so far; with ``on_error`` it is handed over
        and the others still run.
        """
        answers: Results = []
        for slug, call in self._implementations(name, kwargs):
            try:
                answer = call()
            except Exception as exc:
                if on_error is None:
                    raise JoinFailed(slug, exc, answers) from exc
                log.exception("plugin %s failed in %s", slug, name)
                on_error(slug, exc)
                continue
            if answer is not None:
                answers.append((slug, answer))
        return answers

    def notify(self, name: str, *, reverse: bool = False, **kwargs: Any) -> list[str]:
        """Tell every plugin; failures are logged. The slugs of those that failed."""
        failed = []
        for slug, call in self._implementations(name, kwargs, reverse=reverse):
            try:
                call()
            except Exception:
                log.exception("plugin %s failed in %s", slug, name)
                failed.append(slug)
        return failed

    def implemented_by(self, slug: str) -> list[str]:
        """Names of the hooks a plugin implements, sorted."""
        plugin = self._pm.get_plugin(slug)
        callers = self._pm.get_hookcallers(plugin) if plugin is not None else None
        return sorted(caller.name for caller in callers or ())

    def _implementations(
        self, name: str, kwargs: Mapping[str, Any], *, reverse: bool = False
    ) -> Iterator[tuple[str, Callable[[], Any]]]:
        caller = getattr(self._pm.hook, name)
        known = [impl for impl in caller.get_hookimpls() if impl.plugin_name in self._rank]
        known.sort(key=lambda impl: self._rank[impl.plugin_name], reverse=reverse)
        for impl in known:
            offered = {**kwargs, "ctx": self._contexts.get(impl.plugin_name)}
            chosen = {arg: offered[arg] for arg in impl.argnames}
            yield impl.plugin_name, _bind(impl.function, chosen)


def describe(exc: BaseException) -> str:
    """An exception as a short reason: its type and text, on one line."""
    text = " ".join(str(exc).split())
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _bind(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    return lambda: function(**kwargs)
