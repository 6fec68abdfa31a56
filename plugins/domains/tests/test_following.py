"""What happens by itself: edits by hand, renewed certificates, the start, the panel's own domain."""

import shutil
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Failed
from flatrun_core.ports.certificates import CERTIFICATES
from flatrun_core.ports.proxy import PANEL, Endpoints
from flatrun_domains.checks import checks
from flatrun_domains.following import FOLLOWER, LOOKS

ENTRY = "networking: {expose: true}\ndomains: [{domain: a.example}]\n"


@pytest.fixture
def settled() -> Callable[[Callable[[], bool]], None]:
    """Return a function that waits until something has come about."""

    def wait(condition: Callable[[], bool]) -> None:
        tick = threading.Event()
        for _ in range(500):
            if condition():
                return
            tick.wait(0.02)
        raise AssertionError("it did not come about")

    return wait


def test_an_edit_by_hand_is_applied_by_the_timer(
    bench: Any, run_timer: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    bench.write(ENTRY)
    run_timer(bench.app, "domains.follow")
    assert [host.name for host in bench.hosts()] == ["a.example"]
    with caplog.at_level("INFO"):
        bench.write(ENTRY.replace("a.example", "b.example"))
        bench.look()
    assert "changed blog" in caplog.text
    bench.write("networking: {expose: false}\n")
    bench.look()
    assert bench.proxy.sites == {}


def test_nothing_is_applied_while_nothing_changes(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add("a.example")
    calls: list[Any] = []
    monkeypatch.setattr(bench.proxy, "apply", lambda *args: calls.append(args))
    for _ in range(LOOKS - 1):
        bench.look()
    assert calls == []


def test_a_renewed_certificate_is_applied(bench: Any) -> None:
    bench.add("a.example", ssl={"enabled": True})
    renewed = bench.certificates.give("a.example", fingerprint="f" * 64)
    bench.look()
    assert bench.hosts()[0].tls.fingerprint == renewed.fingerprint


def test_what_the_proxy_refused_is_tried_again(bench: Any) -> None:
    bench.add("a.example")
    bench.proxy.refuse = {"blog": "a fragment is broken"}
    bench.create("shop")
    bench.add("b.example", "shop")
    assert bench.hosts() == []
    bench.proxy.refuse = {}
    for _ in range(LOOKS):
        bench.look()
    assert [host.name for host in bench.hosts()] == ["a.example"]


def test_a_failure_is_told_once_and_tried_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    problems = [Failed("the Engine is away"), Failed("the Engine is away"), RuntimeError("a bug")]

    def fail(*_: Any) -> Any:
        raise problems.pop(0)

    bench.write(ENTRY)
    with monkeypatch.context() as patched:
        patched.setattr(bench.proxy, "apply", fail)
        for _ in range(3):
            bench.look()
    assert caplog.text.count("the Engine is away") == 1
    assert caplog.text.count("a bug") == 1
    bench.look()
    assert [host.name for host in bench.hosts()] == ["a.example"]


def test_what_is_left_out_is_told_once(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    bench.write(ENTRY.replace("a.example", "a b"))
    for _ in range(LOOKS * 2):
        bench.look()
    assert caplog.text.count("left out") == 1


def test_the_start_applies_beside_it(bench: Any, settled: Callable[..., None]) -> None:
    bench.write(ENTRY)
    gate, apply = threading.Event(), bench.proxy.apply

    def slowly(*args: Any) -> Any:
        gate.wait(10)
        return apply(*args)

    bench.proxy.apply = slowly
    bench.service(FOLLOWER).start()
    assert bench.proxy.sites == {}
    gate.set()
    settled(lambda: [host.name for host in bench.hosts()] == ["a.example"])


@pytest.fixture
def served(make_bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a panel whose proxy answers somewhere."""
    bench = make_bench(saved=True)
    bench.create()
    answers = Endpoints(http=(("127.0.0.1", 1),))
    monkeypatch.setattr(bench.proxy, "endpoints", lambda: answers)
    return bench


def test_the_panel_gets_a_domain_and_its_certificate(served: Any, settled: Callable[..., None]) -> None:
    served.done("PUT", "/api/settings", domain={"panel_domain": "Panel.example"})
    assert [host.name for host in served.hosts(PANEL)] == ["panel.example"]
    settled(lambda: served.hosts(PANEL)[0].tls is not None)
    assert served.certificates.asked == [(("panel.example",), None)]
    served.done("PUT", "/api/settings", domain={"panel_ssl": False})
    assert served.hosts(PANEL)[0].tls is None
    served.done("PUT", "/api/settings", domain={"panel_domain": ""})
    assert served.hosts(PANEL) == []


def test_a_host_of_a_deployment_cannot_be_the_panels(served: Any) -> None:
    served.add("a.example", aliases=["b.example"])
    answer = served.refused(
        409, "DOMAIN_EXISTS", "PUT", "/api/settings", domain={"panel_domain": "b.example"}
    )
    assert "blog" in answer["error"]
    assert served.done("GET", "/api/settings")["settings"]["domain"]["panel_domain"] == ""
    assert served.hosts(PANEL) == []


def test_a_panels_domain_that_the_proxy_refuses_is_refused(served: Any) -> None:
    served.proxy.refuse = {PANEL: "no"}
    served.refused(500, "PROXY_CONFIG_FAILED", "PUT", "/api/settings", domain={"panel_domain": "p.example"})
    assert served.done("GET", "/api/settings")["settings"]["domain"]["panel_domain"] == ""


def test_the_panels_certificate_that_cannot_be_had_is_told_once(
    served: Any, settled: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    served.certificates.refuse["p.example"] = Failed("no address")
    served.done("PUT", "/api/settings", domain={"panel_domain": "p.example"})
    settled(lambda: "no address" in caplog.text)
    for _ in range(LOOKS):
        served.look()
    settled(lambda: len(served.certificates.asked) == 2)
    served.service(FOLLOWER).stop()
    assert caplog.text.count("no address") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"panel_domain": "a b"},
        {"default_domain": "10.0.0.1"},
        {"subdomain_style": "long"},
        {"auto_ssl": 1},
    ],
)
def test_settings_that_cannot_be_are_refused(served: Any, wrong: dict[str, Any]) -> None:
    served.refused(400, "VALIDATION_ERROR", "PUT", "/api/settings", domain=wrong)


def findings(bench: Any) -> dict[str, tuple[str, str]]:
    panel = bench.app.extensions["flatrun"]
    record = next(record for record in panel.plugins if record.slug == "domains")
    context = panel.hooks.context(record.slug)
    results = {check.name: check.run() for check in checks(context)}
    return {name: (found.status, found.message) for name, found in results.items()}


def test_doctor_finds_what_is_not_served(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(**{"domain.panel_domain": "panel.example"})
    bench.create()
    assert findings(bench)["panel-domain"][0] == "warning"
    bench.look()
    good = findings(bench)
    assert good["domains-left-out"][0] == good["domains-quarantined"][0] == "ok"
    assert good["panel-domain"] == ("warning", "panel.example has no certificate")
    bench.certificates.give("panel.example")
    bench.create("shop")
    bench.add("a.example")
    bench.write("networking: {expose: true}\ndomains: [{domain: a.example}, {domain: 'b c'}]\n", "shop")
    bench.proxy.refuse = {"blog": "no"}
    bench.done("POST", "/api/proxy/sync")
    found = findings(bench)
    assert found["domains-left-out"][0] == "warning"
    assert "shop: a.example" in found["domains-left-out"][1]
    assert "by 'blog'" in found["domains-left-out"][1]
    assert "shop: b c" in found["domains-left-out"][1]
    assert found["domains-quarantined"] == ("error", "blog: no")
    assert found["panel-domain"] == ("ok", "panel.example")


def test_doctor_makes_no_folder(make_bench: Callable[..., Any]) -> None:
    bench = make_bench()
    shutil.rmtree(bench.root)
    assert {status for status, _ in findings(bench).values()} == {"ok"}
    assert not bench.root.exists()


def test_certificates_are_found_at_the_moment_of_use(bench: Any) -> None:
    assert bench.service(CERTIFICATES) is bench.certificates
