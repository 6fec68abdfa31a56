"""A panel that ends in the middle of a pass ends it quietly."""

from datetime import timedelta
from typing import Any

import pytest

from flatrun_certificates import renewal_info
from flatrun_certificates.errors import Stopped
from flatrun_certificates.issuance import Issuance
from flatrun_certificates.renewal import RENEWALS
from flatrun_certificates.state import STATES

OLD = timedelta(days=80)


@pytest.fixture
def busy(make_bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A panel that renews in the background, and asks no authority when to."""
    monkeypatch.setattr(renewal_info, "ask", lambda *_, **__: None)
    return make_bench({"certbot.enabled": True})


def test_a_panel_that_ends_stops_the_pass_and_no_failure_is_written(
    busy: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.example.com", "b.example.com", "c.example.com"):
        busy.lineages.add(name, age=OLD)
    look = Issuance._look_first

    def ends(self: Issuance, wanted: Any) -> Any:
        if wanted.name == "b.example.com":
            raise Stopped
        return look(self, wanted)

    monkeypatch.setattr(Issuance, "_look_first", ends)
    found = busy.service(RENEWALS).pass_over()
    assert (found["renewed"], found["failed"]) == (["a.example.com"], [])
    assert busy.issuer.calls == [("renew", "a.example.com")]
    assert busy.proxy.reloads == 1
    assert busy.service(STATES).of("b.example.com").failures == 0
    assert not [record for record in caplog.records if record.exc_info]


def test_a_pass_that_is_to_stop_asks_for_no_more(busy: Any) -> None:
    for name in ("a.example.com", "b.example.com"):
        busy.lineages.add(name, age=OLD)
    busy.routes.add("blog", "new.example.com")
    found = busy.service(RENEWALS).pass_over(lambda: bool(busy.issuer.calls))
    assert found == {"renewed": ["a.example.com"], "failed": [], "published": []}
    assert busy.routes.published == []
