"""The client of the running panel: what it asks, and each failure as one sentence."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.cli import ApiError, Client, Event, Session, api_options, pass_session
from flatrun_core.cli.client import local_url, parse_events
from flatrun_core.settings import ApiSettings


class Panel(ThreadingHTTPServer):
    """Answers with ``answer`` and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status = 200
        self.headers = {"Content-Type": "application/json"}
        self.body: bytes | Iterator[bytes] = b"{}"

    def answer(self, status: int, body: Any, **headers: str) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {"Content-Type": "application/json", **headers}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Panel

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        body = self.server.body
        if isinstance(body, bytes):
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in body:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the library's names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def panel() -> Iterator[Panel]:
    with Panel() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(panel: Panel) -> Iterator[Client]:
    made = Client(panel.url + "/", "the-key")
    yield made
    if made._http is not None:
        made._http.close()


def failure(call: Callable[[], Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call()
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 1
    return caught.value


def test_each_method_sends_what_it_is_given(panel: Panel, client: Client) -> None:
    panel.answer(200, {"a": [1]})
    assert client.get("/api/x", tail=5, follow=True, since=None) == {"a": [1]}
    client.post("/api/x")
    client.post("/api/x", {"name": "n"})
    client.put("/api/x", {"name": "m"})
    client.delete("/api/x", files=False)
    assert [(method, path) for method, path, _, _ in panel.asked] == [
        ("GET", "/api/x?tail=5&follow=true"),
        ("POST", "/api/x"),
        ("POST", "/api/x"),
        ("PUT", "/api/x"),
        ("DELETE", "/api/x?files=false"),
    ]
    assert [body for _, _, _, body in panel.asked] == [b"", b"", b'{"name": "n"}', b'{"name": "m"}', b""]
    assert {headers["Authorization"] for _, _, headers, _ in panel.asked} == {"Bearer the-key"}


def test_neither_netrc_nor_a_proxy_of_the_environment_comes_between(
    panel: Panel, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    client.get("/api/x")
    assert panel.asked[0][2]["Authorization"] == "Bearer the-key"


def test_a_refusal_is_the_panels_own_sentence(panel: Panel, client: Client) -> None:
    panel.answer(409, {"error": "It exists", "code": "CONFLICT", "output": "more"})
    error = failure(lambda: client.post("/api/x", {}))
    assert (error.message, error.status, error.code) == ("It exists", 409, "CONFLICT")
    assert error.body["output"] == "more"


def test_without_a_key_it_says_where_one_may_come_from(panel: Panel) -> None:
    panel.answer(401, {"error": "Authorization header required", "code": "AUTH_REQUIRED"})
    client = Client(panel.url)
    error = failure(lambda: client.get("/api/x"))
    assert "FLATRUN_API_KEY" in error.message
    assert "Authorization" not in panel.asked[0][2]
    assert client._http is not None
    client._http.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>"), (502, b"<html>"), (500, b'["x"]'), (404, b'{"detail": "x"}'), (301, b"{}")],
)
def test_something_else_at_the_address_is_recognised(
    panel: Panel, client: Client, status: int, body: bytes
) -> None:
    panel.answer(status, body, Location="http://127.0.0.1:1/")
    assert "is not the panel" in failure(lambda: client.get("/api/x")).message
    assert len(panel.asked) == 1


def test_nobody_there_is_answered_with_the_way_to_start_it() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        error = failure(lambda: Client(url).get("/api/x"))
    assert error.message == f"The panel does not answer at {url}: start it with `flatrun serve`"
    assert error.status == 0


def test_a_panel_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flatrun_core.cli.client.READ_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"127.0.0.1:{silent.getsockname()[1]}")
        assert "did not answer within" in failure(lambda: client.get("/api/x")).message


@pytest.mark.parametrize(
    "url", ["http://", "http://exa mple:80", "ftp://127.0.0.1/", "http://127.0.0.1:99999"]
)
def test_an_address_that_is_none_is_said_so(url: str) -> None:
    assert url.rstrip("/") in failure(lambda: Client(url).get("/api/x")).message


def test_a_stream_gives_each_event_as_it_comes(panel: Panel, client: Client) -> None:
    more = threading.Event()

    def body() -> Iterator[bytes]:
        yield b': open\n\nevent: log\ndata: {"line":"\xc3\xa4"}\n\n'
        assert more.wait(5)
        yield b"event: log\nda"
        yield b'ta: {"line":"b"}\n\n: keep-alive\n\n'
        yield b'event: end\ndata: {"reason":"stopped"}\n\nevent: log\ndata: 1\n\n'

    panel.body = body()
    events = client.stream("/api/x", follow=True)
    assert next(events) == Event("log", {"line": "\u00e4"})
    more.set()
    assert list(events) == [Event("log", {"line": "b"}), Event("end", {"reason": "stopped"})]


def test_an_error_in_a_stream_is_raised(panel: Panel, client: Client) -> None:
    panel.body = iter(
        [b'event: log\ndata: {}\n\nevent: error\ndata: {"error":"Lost it","code":"DOCKER_ERROR"}\n\n']
    )
    events = client.stream("/api/x")
    next(events)
    error = failure(lambda: next(events))
    assert (error.message, error.code) == ("Lost it", "DOCKER_ERROR")


def test_a_stream_that_breaks_off_is_not_taken_for_its_end(panel: Panel, client: Client) -> None:
    panel.body = iter([b"event: log\ndata: {}\n\n"])
    events = client.stream("/api/x")
    next(events)
    assert "was lost" in failure(lambda: next(events)).message


def test_leaving_a_stream_hangs_up(panel: Panel, client: Client) -> None:
    gone = threading.Event()

    def body() -> Iterator[bytes]:
        try:
            while True:
                yield b"event: log\ndata: {}\n\n"
                time.sleep(0.01)
        finally:
            gone.set()

    panel.body = body()
    panel.handle_error = lambda *_: None  # type: ignore[method-assign]
    events = client.stream("/api/x")
    next(events)
    events.close()  # type: ignore[attr-defined]
    panel.body = b""
    assert gone.wait(5)


def test_a_refused_stream_is_an_ordinary_error(panel: Panel, client: Client) -> None:
    panel.answer(503, {"error": "Too many streams are open", "code": "TOO_MANY_STREAMS"})
    assert failure(lambda: next(client.stream("/api/x"))).code == "TOO_MANY_STREAMS"


events = st.lists(
    st.tuples(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3),
    ),
    max_size=8,
)


@given(events)
def test_events_written_are_the_events_read(written: list[tuple[str, dict[str, str]]]) -> None:
    text = ": open\n\n" + "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in written)
    assert list(parse_events(text.encode().split(b"\n"))) == [Event(name, data) for name, data in written]


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=20))
def test_no_line_breaks_the_reader(lines: list[bytes]) -> None:
    for event in parse_events(lines):
        assert isinstance(event.name, str)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8090"),
        ("::", "http://[::1]:8090"),
        ("10.0.0.2", "http://10.0.0.2:8090"),
        ("localhost", "http://localhost:8090"),
    ],
)
def test_the_address_of_the_configured_panel(host: str, url: str) -> None:
    assert local_url(ApiSettings(host=host)) == url


@click.command()
@api_options
@pass_session
def ask(session: Session) -> None:
    session.output.data(session.api.get("/api/x"))


def test_a_command_finds_address_and_key_in_the_configuration(panel: Panel, tmp_path: Path) -> None:
    port = panel.server_address[1]
    file = tmp_path / "f.yml"
    file.write_text(
        f"api: {{host: 0.0.0.0, port: {port}}}\nauth: {{api_keys: [first-of-the-keys, second-of-the-keys]}}\n"
    )
    session = Session(config=file)
    assert CliRunner().invoke(ask, [], obj=session).exit_code == 0
    assert panel.asked[0][2]["Authorization"] == "Bearer first-of-the-keys"
    assert session.api._http is not None
    session.api._http.close()


def test_a_broken_configuration_does_not_matter_when_all_is_named(panel: Panel, tmp_path: Path) -> None:
    file = tmp_path / "f.yml"
    file.write_text("api: [\n")
    session = Session(config=file)
    named = ["--url", panel.url, "--key", "k"]
    assert CliRunner().invoke(ask, named, obj=session).exit_code == 0
    assert session.api._http is not None
    session.api._http.close()
    result = CliRunner().invoke(ask, [], obj=Session(config=file))
    assert result.exit_code == 1
    assert "f.yml" in result.stderr
    assert "--url" in result.stderr


def test_a_failure_is_one_line_on_stderr_and_exit_code_1(panel: Panel) -> None:
    panel.answer(404, {"error": "Deployment not found", "code": "DEPLOYMENT_NOT_FOUND"})
    session = Session(url=panel.url, key="k")
    result = CliRunner().invoke(ask, ["--json"], obj=session)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: Deployment not found\n")
    assert session.api._http is not None
    session.api._http.close()


def test_a_command_can_be_tested_with_a_client_of_its_own() -> None:
    class Fake:
        def get(self, path: str) -> Any:
            return {"asked": path}

    result = CliRunner().invoke(ask, [], obj=Session(api=Fake()))
    assert json.loads(result.stdout) == {"asked": "/api/x"}
