"""Two who ask for one name at once: the second hears how the first one fared."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flatrun_certificates.issuance import Issuance
from flatrun_certificates.renewal import SERVICE
from flatrun_certificates.state import STATES
from flatrun_core import Failed, FlatrunError, RateLimited


def second_of_two(
    bench: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, ask: Callable[[], Any]
) -> tuple[Any, int]:
    """What the second is told who asks while the first is being refused, and how often was asked."""
    bench.issuer.refuse["a.example.com"] = error
    told: list[Any] = []
    at_the_door = [threading.Event(), threading.Event()]
    check, knocked = Issuance.check_settings, iter(at_the_door)

    def knock(self: Issuance, hosts: Any) -> None:
        check(self, hosts)
        next(knocked).set()

    def work() -> None:
        with bench.panel.database.session():
            try:
                told.append(ask())
            except FlatrunError as exc:
                told.append(exc)

    threads = [threading.Thread(target=work) for _ in range(2)]

    def while_the_first_has_its_turn() -> None:
        bench.issuer.during = lambda: None
        threads[1].start()
        assert at_the_door[1].wait(30)

    monkeypatch.setattr(Issuance, "check_settings", knock)
    bench.issuer.during = while_the_first_has_its_turn
    threads[0].start()
    assert at_the_door[1].wait(30)
    for thread in threads:
        thread.join(30)
    return told[1], len(bench.issuer.calls)


def test_who_waited_while_the_first_failed_does_not_ask_again(bench: Any, monkeypatch: Any) -> None:
    refused = Failed("no", code="CERTBOT_FAILED")
    told, calls = second_of_two(
        bench, monkeypatch, refused, lambda: bench.certificates.ensure(["a.example.com"])
    )
    assert isinstance(told, RateLimited)
    assert calls == 1
    assert bench.service(STATES).of("a.example.com").failures == 1


@pytest.mark.parametrize(
    ("refused", "calls"), [(Failed("no", code="CERTBOT_FAILED"), 2), (RateLimited("too many"), 1)]
)
def test_a_person_who_waited_asks_again_unless_the_authority_said_to_wait(
    bench: Any, monkeypatch: Any, refused: Exception, calls: int
) -> None:
    service = bench.service(SERVICE)
    found = second_of_two(
        bench, monkeypatch, refused, lambda: service.obtain(["a.example.com"], by_person=True)
    )
    assert found[1] == calls
    assert isinstance(found[0], type(refused))
