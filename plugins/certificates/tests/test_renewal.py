"""Renewal in the background: what is due, what fails, what is told."""

import json
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flatrun_certificates import renewal
from flatrun_certificates.background import BACKGROUND, JOB, Background
from flatrun_certificates.issuance import STORE
from flatrun_certificates.renewal import RENEWALS
from flatrun_certificates.renewal_info import Window
from flatrun_certificates.state import STATES
from flatrun_core import Failed, RateLimited
from flatrun_core.db import now
from flatrun_core.ports.deployments import DomainsChanged
from flatrun_core.ports.proxy import PANEL
from flatrun_core.testing.client import ADMIN_KEY

OLD = timedelta(days=80)


@pytest.fixture(autouse=True)
def windows(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, Window | None]:
    """What the authority says of a leaf; nothing unless a test puts something in."""
    said: dict[bytes, Window | None] = {}
    asked: list[bytes] = []

    def ask(directory: str, ca_file: Any, leaf: bytes, **_: Any) -> Window | None:
        asked.append(leaf)
        return said.get(leaf)

    monkeypatch.setattr(renewal.renewal_info, "ask", ask)
    return said


@pytest.fixture
def busy(make_bench: Any) -> Any:
    """A panel that renews in the background."""
    return make_bench({"certbot.enabled": True})


def run(bench: Any) -> dict[str, Any]:
    found: dict[str, Any] = bench.service(RENEWALS).pass_over()
    return found


def test_what_is_due_is_renewed_and_the_proxy_reloads_once(busy: Any) -> None:
    for name in ("a.example.com", "b.example.com"):
        busy.lineages.add(name, age=OLD)
    busy.lineages.add("fresh.example.com")
    assert run(busy) == {"renewed": ["a.example.com", "b.example.com"], "failed": [], "published": []}
    assert busy.proxy.reloads == 1
    assert run(busy)["renewed"] == []
    assert busy.proxy.reloads == 1


def test_a_renewal_by_itself_is_recorded_as_the_systems(busy: Any) -> None:
    busy.lineages.add("a.example.com", age=OLD)
    busy.lineages.add("b.example.com", age=OLD)
    busy.issuer.refuse["b.example.com"] = Failed("no", code="CERTBOT_FAILED")
    run(busy)
    told = {event.resource_id: event for event in busy.notebook.events}
    assert told["a.example.com"].actor.type == "system"
    assert (told["a.example.com"].action, told["a.example.com"].error) == ("certificates.renew", "")
    assert told["b.example.com"].error == "no"


def test_a_failure_waits_longer_each_time_and_keeps_the_old_one(busy: Any) -> None:
    busy.lineages.add("a.example.com", age=OLD)
    before = busy.certificates.lookup(["a.example.com"])
    busy.issuer.refuse["a.example.com"] = Failed("no", code="CERTBOT_FAILED")
    assert run(busy)["failed"] == ["a.example.com"]
    assert run(busy)["failed"] == []
    assert busy.issuer.calls == [("renew", "a.example.com")]
    assert busy.certificates.lookup(["a.example.com"]) == before
    assert busy.service(STATES).of("a.example.com").failures == 1
    assert busy.proxy.reloads == 0


def test_what_is_marked_is_left_alone(busy: Any) -> None:
    live = busy.lineages.add("a.example.com", age=OLD)
    (live / ".flatrun-auto-renew-disabled").touch()
    assert run(busy)["renewed"] == []
    assert any("automatic renewal is off" in text for text in busy.one("a.example.com")["warnings"])


def test_a_mark_is_enough_where_the_setting_is_off(make_bench: Any) -> None:
    bench = make_bench({"certbot.enabled": True, "certbot.auto_renewal_enabled": False})
    bench.lineages.add("a.example.com", age=OLD)
    live = bench.lineages.add("b.example.com", age=OLD)
    (live / ".flatrun-auto-renew-enabled").touch()
    assert run(bench)["renewed"] == ["b.example.com"]


def leaf(bench: Any, name: str) -> bytes:
    data: bytes = (bench.lineages.live / name / "cert.pem").read_bytes()
    return data


def test_the_authoritys_window_decides_and_is_kept(busy: Any, windows: Any) -> None:
    moment = now()
    busy.lineages.add("early.example.com")
    busy.lineages.add("late.example.com", age=OLD)
    past = Window(moment - timedelta(hours=2), moment - timedelta(hours=1), "", moment + timedelta(hours=6))
    future = Window(moment + timedelta(days=1), moment + timedelta(days=2), "", moment + timedelta(hours=6))
    windows[leaf(busy, "early.example.com")] = past
    windows[leaf(busy, "late.example.com")] = future
    assert run(busy)["renewed"] == ["early.example.com"]
    shown = busy.one("late.example.com")
    assert shown["status"] == "valid"
    busy.service(STATES)._forget()
    assert busy.service(STATES).of("late.example.com").window == future


def test_an_entry_without_its_certificate_is_published_again(busy: Any) -> None:
    busy.routes.add("blog", "a.example.com")
    busy.routes.add("shop", "b.example.com", tls=False)
    busy.routes.add(PANEL, "panel.example.com")
    busy.routes.on_publish = lambda name: busy.certificates.ensure(["a.example.com"], deployment=name)
    assert run(busy)["published"] == ["blog"]
    assert busy.certificates.lookup(["a.example.com"]) is not None
    assert run(busy)["published"] == []
    assert busy.routes.published == ["blog"]


def test_an_entry_that_failed_a_moment_ago_waits(busy: Any) -> None:
    busy.routes.add("blog", "a.example.com")
    busy.issuer.refuse["a.example.com"] = Failed("no", code="CERTBOT_FAILED")
    busy.routes.on_publish = lambda name: busy.certificates.ensure(["a.example.com"], deployment=name)
    assert run(busy)["published"] == ["blog"]
    assert run(busy)["published"] == []
    assert len(busy.issuer.calls) == 1


def test_an_alias_that_is_gone_from_its_entry_does_not_stop_renewal(busy: Any) -> None:
    busy.lineages.add("a.example.com", ["a.example.com", "gone.example.com"], age=OLD)
    busy.routes.add("blog", "a.example.com", "new.example.com")
    run(busy)
    assert busy.issuer.requests[0].hosts == ("a.example.com", "new.example.com")
    assert busy.issuer.requests[0].force is True
    assert busy.certificates.lookup(["a.example.com"]).domains == ("a.example.com", "new.example.com")


def test_a_clock_that_is_ahead_asks_for_no_second_one_at_once(busy: Any, monkeypatch: Any) -> None:
    busy.lineages.add("a.example.com", age=OLD)
    busy.lineages.maker.lifetime = timedelta(seconds=59)
    assert run(busy)["renewed"] == ["a.example.com"]
    assert run(busy) == {"renewed": [], "failed": [], "published": []}
    assert len(busy.issuer.calls) == 1
    assert busy.service(STATES).of("a.example.com").next_attempt_at > now() + timedelta(hours=23)
    assert any("clock" in text for text in busy.one("a.example.com")["warnings"])


def test_a_clock_that_is_behind_renews_nothing(busy: Any) -> None:
    busy.lineages.add("a.example.com", age=timedelta(days=-400))
    assert run(busy)["renewed"] == []
    assert any("clock" in text for text in busy.one("a.example.com")["warnings"])


def test_what_is_late_is_logged(busy: Any, caplog: pytest.LogCaptureFixture) -> None:
    busy.lineages.add("a.example.com", age=OLD)
    busy.issuer.refuse["a.example.com"] = Failed("the authority says no", code="CERTBOT_FAILED")
    with caplog.at_level(logging.WARNING):
        run(busy)
    late = [record.getMessage() for record in caplog.records if "is late" in record.getMessage()]
    assert len(late) == 1
    assert "the authority says no" in late[0]


def test_the_authoritys_own_wait_is_kept_by_everybody(busy: Any) -> None:
    error = RateLimited("too many")
    error.fault = _fault()  # type: ignore[attr-defined]
    busy.issuer.refuse["a.example.com"] = error
    answer = busy.admin.post("/api/certificates", json={"domain": "a.example.com"})
    assert answer.status_code == 429
    busy.issuer.refuse.clear()
    answer = busy.admin.post("/api/certificates", json={"domain": "a.example.com"})
    assert (answer.status_code, answer.get_json()["code"]) == (429, "RATE_LIMITED")
    assert int(answer.headers["Retry-After"]) > 7000
    assert len(busy.issuer.calls) == 1


def test_renewing_by_hand_respects_the_authoritys_wait_too(busy: Any) -> None:
    busy.lineages.add("a.example.com", age=OLD)
    busy.service(STATES).failed("a.example.com", _fault())
    answer = busy.admin.post("/api/certificates/a.example.com/renew")
    assert answer.status_code == 500
    assert "next one is at" in answer.get_json()["error"]
    assert busy.issuer.calls == []


def test_what_is_written_of_one_thing_leaves_the_others_as_they_were(busy: Any) -> None:
    states = busy.service(STATES)
    states.failed("a.example.com", _fault(), ["Careful."])
    states.served("a.example.com", "f" * 64, "Nobody answers.")
    known = states.of("a.example.com")
    assert (known.failures, known.warnings, known.served_problem) == (1, ("Careful.",), "Nobody answers.")
    states.succeeded("a.example.com")
    known = states.of("a.example.com")
    assert (known.failures, known.warnings, known.served_problem) == (0, (), "Nobody answers.")
    states.tidy(["a.example.com"])
    assert states.of("a.example.com") == known
    states.drop(["a.example.com"])
    assert states.all() == {}


def test_what_nobody_wants_is_forgotten_when_its_wait_is_over(busy: Any) -> None:
    states, over = busy.service(STATES), now() - timedelta(seconds=1)
    busy.routes.add("blog", "wanted.example.com")
    busy.lineages.add("there.example.com")
    for name in ("wanted.example.com", "there.example.com", "gone.example.com"):
        states._put(name, failures=1, next_attempt_at=over)
    states._put("waits.example.com", failures=1, next_attempt_at=now() + timedelta(hours=1))
    run(busy)
    assert sorted(states.all()) == ["there.example.com", "waits.example.com", "wanted.example.com"]


@pytest.mark.parametrize("kind", ["", "rateLimited"])
def test_failures_go_with_their_entry_but_not_what_the_authority_asked_for(busy: Any, kind: str) -> None:
    states = busy.service(STATES)
    busy.routes.add("shop", "b.example.com")
    for name in ("a.example.com", "b.example.com"):
        states._put(name, failures=1, last_kind=kind, next_attempt_at=now() + timedelta(hours=1))
    event = DomainsChanged("blog", removed=("a.example.com", "b.example.com", "never.example.com"))
    busy.panel.hooks.notify("flatrun_on_domains_changed", event=event)
    assert sorted(states.all()) == (["a.example.com", "b.example.com"] if kind else ["b.example.com"])


def test_failures_go_when_certificates_are_released(busy: Any) -> None:
    states = busy.service(STATES)
    states._put("a.example.com", failures=1, next_attempt_at=now() + timedelta(hours=1))
    busy.certificates.release(["a.example.com"])
    assert states.all() == {}


def _fault() -> Any:
    from flatrun_certificates.faults import Fault

    return Fault("rateLimited", "too many", wait=timedelta(hours=2))


def test_a_person_need_not_wait_after_a_failure_but_other_plugins_must(busy: Any) -> None:
    busy.issuer.refuse["a.example.com"] = Failed("no", code="CERTBOT_FAILED")
    for _ in range(2):
        assert busy.admin.post("/api/certificates", json={"domain": "a.example.com"}).status_code == 500
    with pytest.raises(RateLimited, match="next one is at"):
        busy.certificates.ensure(["a.example.com"])
    assert len(busy.issuer.calls) == 2
    assert busy.service(STATES).of("a.example.com").failures == 2


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_failure_is_tried_again_when_its_wait_is_over_and_once_for_each_wait(
    ticking: Any, run_jobs: Any
) -> None:
    busy, background, _ = ticking
    busy.lineages.add("a.example.com", age=OLD)
    busy.issuer.refuse["a.example.com"] = Failed("no", code="CERTBOT_FAILED")
    assert background.tick() is True
    run_jobs(busy.app)
    assert background.tick() is False
    over = now() - timedelta(seconds=1)
    busy.service(STATES)._put("a.example.com", next_attempt_at=over)
    busy.service(STATES)._put("nobody.example.com", failures=1, next_attempt_at=over)
    assert background.tick() is True
    run_jobs(busy.app)
    assert len(busy.issuer.calls) == 2
    assert background.tick() is False


@pytest.fixture
def filed(make_bench: Any, tmp_path: Path) -> Any:
    """A panel whose settings are in a file, so that they can be changed."""
    config = tmp_path / "flatrun.yml"
    settings = {
        "deployments_path": str(tmp_path / "deployments"),
        "auth": {"api_keys": [ADMIN_KEY]},
        "certificates": {"issuer": "fake"},
    }
    config.write_text(json.dumps(settings))
    return make_bench(config=config)


@pytest.fixture
def ticking(busy: Any) -> tuple[Any, Background, Clock]:
    clock = Clock()
    background = Background(busy.service(BACKGROUND)._ctx, clock)
    return busy, background, clock


def test_the_first_look_is_at_once_and_the_next_when_the_interval_is_over(
    ticking: Any, run_jobs: Callable[[Any], None]
) -> None:
    busy, background, clock = ticking
    busy.lineages.add("a.example.com", age=OLD)
    assert background.tick() is True
    assert background.tick() is False
    run_jobs(busy.app)
    assert busy.issuer.calls == [("renew", "a.example.com")]
    clock.now += 12 * 3600
    assert background.tick() is True


def test_a_changed_interval_counts_at_the_next_tick(filed: Any, run_jobs: Any) -> None:
    clock = Clock()
    background = Background(filed.service(BACKGROUND)._ctx, clock)
    assert filed.admin.put("/api/settings", json={"certbot": {"enabled": True}}).status_code == 200
    assert background.tick() is True
    run_jobs(filed.app)
    clock.now += 3600
    assert background.tick() is False
    changed = filed.admin.put("/api/settings", json={"certbot": {"renewal_check_interval": "30m"}})
    assert changed.status_code == 200
    assert background.tick() is True


def test_other_folders_count_at_once(filed: Any, tmp_path: Path) -> None:
    filed.lineages.add("a.example.com")
    assert list(filed.listed()) == ["a.example.com"]
    elsewhere = {"certbot": {"certs_path": str(tmp_path / "elsewhere" / "live")}}
    assert filed.admin.put("/api/settings", json=elsewhere).status_code == 200
    assert filed.listed() == {}
    assert filed.certificates.lookup(["a.example.com"]) is None


def test_a_day_of_life_is_looked_at_each_hour(ticking: Any, run_jobs: Any) -> None:
    busy, background, clock = ticking
    busy.lineages.add("short.example.com", lifetime=timedelta(days=1), age=timedelta(hours=1))
    assert background.tick() is True
    run_jobs(busy.app)
    clock.now += 3600
    assert background.tick() is True


def test_nothing_happens_when_it_is_off(bench: Any, run_timer: Any, run_jobs: Any) -> None:
    bench.lineages.add("a.example.com", age=OLD)
    run_timer(bench.app, JOB)
    run_jobs(bench.app)
    assert bench.issuer.calls == []
    assert any("certbot.enabled is off" in text for text in bench.one("a.example.com")["warnings"])


def test_the_timer_brings_the_job(busy: Any, run_timer: Any, run_jobs: Any) -> None:
    busy.lineages.add("a.example.com", age=OLD)
    run_timer(busy.app, JOB)
    run_jobs(busy.app)
    assert busy.issuer.calls == [("renew", "a.example.com")]


def test_two_at_once_renew_one_after_the_other_and_only_once(busy: Any) -> None:
    import threading

    busy.lineages.add("a.example.com", age=OLD)
    together = threading.Barrier(2, timeout=30)

    def work() -> None:
        together.wait()
        with busy.panel.database.session():
            run(busy)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert busy.issuer.calls == [("renew", "a.example.com")]
    assert busy.service(STORE).lookup(["a.example.com"]) is not None


def test_what_is_damaged_is_renewed_by_itself_and_waits_after_a_failure(busy: Any) -> None:
    for name in ("a.example.com", "b.example.com"):
        busy.lineages.add(name)
        os.truncate((busy.lineages.add(name) / "fullchain.pem").resolve(), 10)
    busy.issuer.refuse["b.example.com"] = Failed("no", code="CERTBOT_FAILED")
    found = run(busy)
    assert (found["renewed"], found["failed"]) == (["a.example.com"], ["b.example.com"])
    assert run(busy) == {"renewed": [], "failed": [], "published": []}
