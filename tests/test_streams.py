"""Server-sent events: who gets one, and every way in which one ends."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView

from flatrun_core import (
    Blueprint,
    Conflict,
    Forbidden,
    PluginInfo,
    ServerEvent,
    access,
    event_stream,
    hookimpl,
)
from flatrun_core.api import streams
from flatrun_core.ports.auth import Access, Permission


class Source:
    """The events of one test: a list, then idle for ever, closed or not."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.closed, self.idle = items, False, 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self.items:
            self.idle += 1
            return None
        item = self.items.pop(0)
        if isinstance(item, type) and issubclass(item, StopIteration):
            raise StopIteration
        if isinstance(item, Exception):
            raise item
        if callable(item):
            return item()
        return item

    def close(self) -> None:
        self.closed = True


class Ticker:
    """A plugin with one stream."""

    def __init__(self) -> None:
        self.PLUGIN = PluginInfo(slug="ticker", hook_api=1, display_name="Ticker")
        self.sources: list[Source] = []
        self.asked: list[tuple[str, str]] = []
        self.closed = False

    @hookimpl
    def flatrun_authorize(self, access: Access, method: str) -> None:
        self.asked.append((method, access.kind))
        if self.closed:
            raise Forbidden("Closed for the night", code="CLOSED")

    @hookimpl
    def flatrun_register_permissions(self) -> list[Permission]:
        return [Permission("ticker:read", "see ticks")]

    @hookimpl
    def flatrun_register_blueprints(self) -> list[Any]:
        blp = Blueprint("ticker", "ticker", url_prefix="/api/ticker", description="t")

        @blp.route("")
        class Ticks(MethodView):
            @access("ticker:read")
            @blp.response(200, content_type="text/event-stream")
            def get(inner) -> Any:  # noqa: N805 - `self` is the plugin here
                """Tick."""
                return event_stream(self.sources.pop(0))

        return [blp]


TICK = ServerEvent("tick", {"n": 1})


@pytest.fixture
def ticker() -> Ticker:
    return Ticker()


@pytest.fixture
def app(ticker: Ticker, flatrun_app: Callable[..., Flask]) -> Flask:
    return flatrun_app(plugins=[ticker], settings={"api.max_streams": 12})


def gate(app: Flask) -> streams.StreamGate:
    found: streams.StreamGate = app.extensions["flatrun"].streams
    return found


def read(app: Flask, ticker: Ticker, source: Source, client: Any) -> str:
    ticker.sources.append(source)
    with client.get("/api/ticker") as answer:
        return str(answer.get_data(as_text=True))


def test_events_arrive_in_the_form_of_the_standard(app: Flask, ticker: Ticker, flatrun_client: Any) -> None:
    source = Source([TICK, None, ServerEvent("tick", {"text": "ü\nline"}), StopIteration])
    text = read(app, ticker, source, flatrun_client(app))
    assert 'event: tick\ndata: {"n":1}\n\nevent: tick\ndata: {"text":"ü\\nline"}\n\n' in text
    assert source.closed
    assert gate(app).active == 0


def test_an_error_before_the_first_item_is_an_ordinary_answer(
    app: Flask, ticker: Ticker, flatrun_client: Any
) -> None:
    source = Source([Conflict("not now", code="NOT_NOW")])
    ticker.sources.append(source)
    answer = flatrun_client(app).get("/api/ticker")
    assert (answer.status_code, answer.get_json()) == (409, {"error": "not now", "code": "NOT_NOW"})
    assert source.closed
    assert gate(app).active == 0


def test_an_error_after_the_first_item_is_an_event(app: Flask, ticker: Ticker, flatrun_client: Any) -> None:
    text = read(app, ticker, Source([TICK, Conflict("gone", code="GONE"), TICK]), flatrun_client(app))
    assert text.endswith('event: error\ndata: {"error":"gone","code":"GONE"}\n\n')


def test_an_unexpected_error_tells_nothing_of_itself(app: Flask, ticker: Ticker, flatrun_client: Any) -> None:
    text = read(app, ticker, Source([TICK, RuntimeError("/secret")]), flatrun_client(app))
    assert '"code":"INTERNAL_ERROR"' in text
    assert "/secret" not in text


def test_a_panel_that_stops_ends_its_streams_and_admits_no_more(
    app: Flask, ticker: Ticker, flatrun_client: Any
) -> None:
    client = flatrun_client(app)
    text = read(app, ticker, Source([TICK, gate(app).closing.set]), client)
    assert text.endswith('event: end\ndata: {"reason":"shutdown"}\n\n')
    ticker.sources.append(Source([TICK]))
    answer = client.get("/api/ticker")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "SHUTTING_DOWN")


def test_lost_access_ends_a_stream_at_the_next_check(
    app: Flask, ticker: Ticker, flatrun_login: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "RECHECK", 0.0)
    client = flatrun_login(app, ["ticker:read"])
    login = next(r for r in app.extensions["flatrun"].plugins if r.slug == "testing_login").module
    text = read(app, ticker, Source([TICK, login.identities.clear, TICK]), client)
    assert text.endswith('event: end\ndata: {"reason":"forbidden"}\n\n')


def test_a_plugin_that_refuses_ends_a_stream_at_the_next_check(
    app: Flask, ticker: Ticker, flatrun_login: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "RECHECK", 0.0)

    def close() -> None:
        ticker.closed = True

    source = Source([TICK, close])
    text = read(app, ticker, source, flatrun_login(app, ["ticker:read"]))
    assert text.endswith('event: end\ndata: {"reason":"forbidden"}\n\n')
    assert set(ticker.asked) == {("GET", "permission")}
    assert len(ticker.asked) > 1
    assert source.closed


def test_an_idle_stream_is_kept_alive_by_comments(
    app: Flask, ticker: Ticker, flatrun_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE", 0.0)
    text = read(app, ticker, Source([None, None, StopIteration]), flatrun_client(app))
    assert text.count(": keep-alive\n\n") >= 2


def test_a_client_that_went_ends_the_stream_and_its_source(
    app: Flask, ticker: Ticker, flatrun_client: Any
) -> None:
    source = Source([TICK])
    ticker.sources.append(source)
    environ = {"waitress.client_disconnected": lambda: source.idle > 2}
    with flatrun_client(app).get("/api/ticker", environ_overrides=environ) as answer:
        answer.get_data()
    assert source.closed
    assert gate(app).active == 0


def test_more_streams_than_the_server_has_threads_for_are_refused(
    app: Flask, ticker: Ticker, flatrun_client: Any
) -> None:
    client = flatrun_client(app)
    ticker.sources.extend(Source([TICK]) for _ in range(13))
    open_answers = [client.get("/api/ticker") for _ in range(12)]
    refused = client.get("/api/ticker")
    assert (refused.status_code, refused.get_json()["code"]) == (503, "TOO_MANY_STREAMS")
    assert refused.headers["Retry-After"]
    for answer in open_answers:
        answer.close()
    assert gate(app).active == 0


def test_one_actor_who_is_no_administrator_may_hold_ten(
    app: Flask, ticker: Ticker, flatrun_login: Any
) -> None:
    client = flatrun_login(app, ["ticker:read"])
    ticker.sources.extend(Source([TICK]) for _ in range(11))
    open_answers = [client.get("/api/ticker") for _ in range(10)]
    assert client.get("/api/ticker").status_code == 429
    for answer in open_answers:
        answer.close()
    assert gate(app).active == 0
