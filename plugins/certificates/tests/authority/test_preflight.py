"""Before the authority is asked: names, port and CAA records on real servers, with causes as sentences."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.rcode
import pytest

from flatrun_certificates import preflight
from flatrun_certificates.errors import Stopped
from flatrun_certificates.preflight import Finding, Preflight
from flatrun_core.ports.proxy import Endpoints

HOST = "blog.example.test"
LOCAL, OTHER = "127.0.0.1", "127.0.0.2"


class Scene:
    """A webroot, a name server and web servers; `look` is one pre-flight."""

    def __init__(self, zone: Any, pages: Any, webroot: Path) -> None:
        self.zone, self.pages, self.webroot = zone, pages, webroot
        self.resolver = zone.address
        self.endpoints: Callable[[], Endpoints] = lambda: Endpoints(http=((LOCAL, pages.port),))
        self.names: Callable[[], tuple[str, ...]] = lambda: ("ca.example",)
        self.asked: list[tuple[str, str]] = []

    def serve(self, host: str, path: str) -> tuple[int, dict[str, str], bytes]:
        """What our proxy does: answer from the webroot."""
        self.asked.append((host, path))
        file = self.webroot / path.lstrip("/")
        return (200, {}, file.read_bytes()) if file.is_file() else (404, {}, b"not here")

    def look(self, *hosts: str, wildcard: bool = False) -> list[Finding]:
        port = self.pages.port
        made = Preflight(self.resolver, port, self.webroot, self.endpoints, self.names)
        return made.check(hosts or (HOST,), wildcard=wildcard)

    def complaints(self, *hosts: str, wildcard: bool = False) -> list[str]:
        return [one.text for one in self.look(*hosts, wildcard=wildcard) if not one.ok]

    def complaint(self, *hosts: str) -> str:
        texts = self.complaints(*hosts)
        assert len(texts) == 1, texts
        return texts[0]


@pytest.fixture
def scene(zone: Any, pages: Any, tmp_path: Path) -> Scene:
    """A name that points here, and a proxy that answers."""
    made = Scene(zone, pages, tmp_path / "html")
    pages.start(made.serve, LOCAL)
    zone.add(HOST, "A", LOCAL)
    return made


def test_a_name_that_is_ready_has_three_good_findings_and_no_file_stays(scene: Scene) -> None:
    found = scene.look()
    assert [(one.host, one.check, one.ok) for one in found] == [
        (HOST, "dns", True),
        (HOST, "http", True),
        (HOST, "caa", True),
    ]
    assert [path for path in scene.webroot.rglob("*") if path.is_file()] == []
    assert scene.asked[0][0] == f"{HOST}:{scene.pages.port}"


def test_the_proxy_may_read_what_it_is_to_serve(scene: Scene) -> None:
    modes = []

    def serve(host: str, path: str) -> tuple[int, dict[str, str], bytes]:
        file = scene.webroot / path.lstrip("/")
        modes.extend([one.stat().st_mode & 0o777 for one in (file, file.parent, file.parent.parent)])
        return scene.serve(host, path)

    scene.pages.start(serve, OTHER)
    scene.zone.records[HOST, "A"] = [OTHER]
    assert scene.complaints() == []
    assert modes == [0o644, 0o755, 0o755]


def test_tokens_that_a_crash_left_are_cleared_and_others_stay(scene: Scene) -> None:
    folder = scene.webroot / preflight.CHALLENGES
    folder.mkdir(parents=True)
    old, foreign = folder / f"{preflight.PREFIX}old", folder / "of-certbot"
    for file in (old, foreign):
        file.write_text("x")
        os.utime(file, (0, 0))
    assert scene.complaints() == []
    assert not old.exists()
    assert foreign.exists()


def test_a_name_that_does_not_exist(scene: Scene) -> None:
    text = scene.complaint("nowhere.other.test")
    assert text.startswith("nowhere.other.test does not exist in the DNS: add an A record")


def test_a_name_without_an_address(scene: Scene) -> None:
    scene.zone.records[HOST, "MX"] = scene.zone.records.pop((HOST, "A")) and ["10 mail.example.test."]
    assert scene.complaint() == f"{HOST} has no address: add an A record that points to this server."


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED"])
def test_name_servers_that_answer_with_an_error(scene: Scene, code: str) -> None:
    scene.zone.errors[HOST] = dns.rcode.from_text(code)
    texts = scene.complaints()
    assert len(texts) == 2
    assert all(text.startswith(f"The name servers of {HOST} answer with an error ({code})") for text in texts)


def test_a_resolver_that_does_not_answer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "QUESTION_SECONDS", 0.3)
    scene.zone.silent = True
    assert all(
        f"The resolver {scene.resolver} did not answer for {HOST}" in text and "certbot.resolver" in text
        for text in scene.complaints()
    )


def test_a_resolver_that_is_not_there(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "QUESTION_SECONDS", 0.3)
    scene.resolver = "127.0.0.1:1"
    texts = scene.complaints()
    assert texts
    assert all("The resolver 127.0.0.1:1" in text for text in texts)


def test_a_resolver_that_is_no_address(scene: Scene) -> None:
    scene.resolver = "dns.example"
    assert scene.complaint().startswith("No name can be resolved: 'dns.example' is no IP address")


@pytest.mark.parametrize("host", ["a" * 64 + ".example.test", "a..example.test"])
def test_a_name_that_no_zone_can_have(scene: Scene, host: str) -> None:
    texts = scene.complaints(host)
    assert texts
    assert all("cannot be resolved" in text for text in texts)


def test_another_server_at_the_address(scene: Scene) -> None:
    scene.pages.start(lambda *_: (404, {"Server": "Apache/2.4"}, b""), OTHER)
    scene.zone.records[HOST, "A"] = [OTHER]
    assert scene.complaint().startswith(
        f"{HOST} points to {OTHER}, where another web server answers: status 404 of a server that calls "
        "itself Apache/2.4. Point the name to this server"
    )


def test_another_server_that_answers_everything_with_a_page(scene: Scene) -> None:
    scene.pages.start(lambda *_: (200, {}, b"Welcome to my site" * 1000), OTHER)
    scene.zone.records[HOST, "A"] = [OTHER]
    assert "another web server answers: a page that is not our token" in scene.complaint()


def test_one_bad_address_of_several_is_enough(scene: Scene) -> None:
    scene.zone.add(HOST, "A", OTHER)
    text = scene.complaint()
    assert text.startswith(f"{HOST} points to {OTHER}, where port {scene.pages.port} refuses connections")
    assert "Open port" in text
    assert "may be that only this server cannot reach it" in text


def test_an_ipv6_address_that_does_not_answer(scene: Scene) -> None:
    scene.zone.add(HOST, "AAAA", "::1")
    text = scene.complaint()
    assert text.startswith(f"{HOST} points to ::1, where port")
    assert "remove the AAAA record: authorities try IPv6 first" in text


def test_an_ipv6_address_that_answers(scene: Scene) -> None:
    scene.pages.start(scene.serve, "::1")
    scene.zone.add(HOST, "AAAA", "::1")
    assert scene.complaints() == []


def test_an_address_that_says_nothing_may_be_our_own_router(
    scene: Scene, listen: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "CONNECTION_SECONDS", 0.3)
    listen(lambda connection: connection.recv(10_000) and connection.recv(1), OTHER, scene.pages.port)
    scene.zone.records[HOST, "A"] = [OTHER]
    text = scene.complaint()
    assert f"where port {scene.pages.port} does not answer. Open port {scene.pages.port}" in text
    assert "If it is the public address of this server's own router" in text


def test_a_server_that_hangs_up(scene: Scene, listen: Callable[..., int]) -> None:
    listen(lambda connection: None, OTHER, scene.pages.port)
    scene.zone.records[HOST, "A"] = [OTHER]
    assert "ends the connection without an answer" in scene.complaint()


def test_a_proxy_that_does_not_run_or_does_not_answer_is_the_cause(scene: Scene) -> None:
    scene.zone.records[HOST, "A"] = [OTHER]
    scene.endpoints = Endpoints
    assert "refuses connections. The proxy on this server does not run" in scene.complaint()
    scene.endpoints = lambda: Endpoints(http=((OTHER, scene.pages.port),))
    assert "The proxy on this server does not answer for this name either" in scene.complaint()
    scene.pages.start(lambda *_: (403, {}, b""), OTHER)
    assert "answers without our token: status 403. The proxy on this server" in scene.complaint()


def test_redirects_are_followed_as_an_authority_follows_them(scene: Scene) -> None:
    scene.zone.add("www.example.test", "A", OTHER)
    there = f"http://{HOST}:{scene.pages.port}"
    scene.pages.start(lambda _, path: (301, {"Location": there + path}, b""), OTHER)
    assert scene.complaints("www.example.test") == []


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("/again", "it redirects more than 10 times"),
        ("ftp://files.example.test/x", "it redirects to ftp://files.example.test/x, where nobody can go"),
        ("http://[", "it redirects to http://[, where nobody can go"),
        ("ftp:\x1b[2J", "it redirects to ftp:?[2J, where nobody can go"),
        ("http://nowhere.other.test/", "it redirects to http://nowhere.other.test/, where nobody can go"),
        ("http://blog.example.test:1/", "it redirects to http://blog.example.test:1, which does not answer"),
        (
            "https://blog.example.test:1/",
            "it redirects to https://blog.example.test:1, which does not answer",
        ),
    ],
)
def test_redirects_that_lead_nowhere(scene: Scene, location: str, seen: str) -> None:
    scene.zone.add("www.example.test", "A", OTHER)
    scene.pages.start(lambda *_: (302, {"Location": location}, b""), OTHER)
    text = scene.complaint("www.example.test")
    assert seen in text
    assert "Exempt /.well-known/acme-challenge/ from the redirect" in text


def test_a_redirect_to_another_site_names_it(scene: Scene) -> None:
    scene.zone.add("www.example.test", "A", OTHER)
    elsewhere = f"http://{HOST}:{scene.pages.port}/login"
    scene.pages.start(lambda *_: (302, {"Location": elsewhere}, b""), OTHER)
    assert f"status 404 after a redirect to http://{HOST}:{scene.pages.port}" in scene.complaint(
        "www.example.test"
    )


def test_a_webroot_that_cannot_be_written(scene: Scene) -> None:
    scene.webroot.write_text("a file")
    assert scene.complaint().startswith(f"{scene.webroot} cannot be written")


def test_a_caa_record_that_forbids_and_the_one_to_add(scene: Scene) -> None:
    scene.zone.add("example.test", "CAA", '0 issue "other.example"', '0 iodef "mailto:a@example.test"')
    assert scene.complaint() == (
        f"The CAA records of example.test let only other.example issue for {HOST} (by http-01): add "
        'example.test CAA 0 issue "ca.example", or remove them.'
    )


def test_the_nearest_caa_records_count(scene: Scene) -> None:
    scene.zone.add("example.test", "CAA", '0 issue "other.example"')
    scene.zone.add(HOST, "CAA", '0 issue "ca.example"')
    assert scene.complaints() == []


def test_a_wildcard_needs_its_own_tag_and_neither_address_nor_server(scene: Scene) -> None:
    scene.zone.add("wild.test", "CAA", '0 issue "ca.example"', '0 issuewild ";"')
    found = scene.look("wild.test", "*.wild.test", wildcard=True)
    assert [(one.host, one.check, one.ok) for one in found] == [
        ("wild.test", "caa", True),
        ("*.wild.test", "caa", False),
    ]
    assert "let nobody issue for *.wild.test (by dns-01): add wild.test CAA 0 issuewild" in found[1].text
    assert scene.asked == []
    assert not scene.webroot.exists()


def test_an_authority_that_does_not_name_itself_in_time_is_not_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "ALL_SECONDS", 0.9)
    over = threading.Event()
    scene.names = lambda: (over.wait(5), ("ca.example",))[1]
    scene.zone.add(HOST, "CAA", '0 issue "other.example"')
    try:
        assert scene.complaints() == []
    finally:
        over.set()


def test_an_error_of_ours_is_a_finding(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Endpoints:
        raise RuntimeError("the Engine is away")

    scene.endpoints = fail
    assert scene.complaint() == f"{HOST} could not be looked at: the Engine is away"
    assert "RuntimeError" in caplog.text


def test_all_names_are_looked_at_together_and_slow_servers_cost_no_more(
    scene: Scene, listen: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "ALL_SECONDS", 1.0)
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(0.05):
            connection.sendall(b"X-Drip: 1\r\n")

    listen(drip, OTHER, scene.pages.port)
    names = [f"n{number}.example.test" for number in range(20)]
    for name in names:
        scene.zone.add(name, "A", OTHER)
    before = threading.active_count()
    found = {one.host: one for one in scene.look(HOST, *names) if one.check == "http"}
    over.set()
    assert found[HOST].ok
    assert all("too slow to answer" in found[name].text for name in names)
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection((LOCAL, scene.pages.port), 0.05).close()
    assert threading.active_count() <= before


def test_nobody_is_asked_about_nothing(scene: Scene) -> None:
    made = Preflight("", 80, scene.webroot, Endpoints, tuple)
    assert made.check([]) == []
    assert scene.asked == []


@pytest.mark.parametrize("refuses", [1, 2, 3, 4, 5])
def test_a_panel_that_ends_is_no_failure_of_the_look(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refuses: int
) -> None:
    submit, asked, lock = preflight.ThreadPoolExecutor.submit, [], threading.Lock()

    def ending(pool: Any, *work: Any) -> Any:
        with lock:
            asked.append(work)
            over = len(asked) >= refuses
        if over:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        return submit(pool, *work)

    monkeypatch.setattr(preflight.ThreadPoolExecutor, "submit", ending)
    with pytest.raises(Stopped):
        scene.look()
    assert caplog.records == []
    assert list(scene.webroot.rglob(f"{preflight.PREFIX}*")) == []


def test_a_host_that_has_no_threads_left_is_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(preflight.ThreadPoolExecutor, "submit", full)
    with pytest.raises(RuntimeError, match="new thread"):
        scene.look()
