"""Which requests become events, and what of a request an event keeps."""

from typing import Any

import pytest

from flatrun_core.ports.auth import RECORD, Actor, RecordedEvent
from flatrun_core.testing.client import ADMIN_KEY, ApiClient


def only(bench: Any) -> dict[str, Any]:
    events: list[dict[str, Any]] = bench.events()
    assert len(events) == 1, [event["action"] for event in events]
    return events[0]


def test_a_change_is_one_event_with_everything_about_it(bench: Any) -> None:
    answer = bench.client.put("/api/shop/blog", json={"count": 3}, headers={"User-Agent": "curl/8"})
    event = only(bench)
    assert event.pop("event_id").count("-") == 4
    assert event.pop("timestamp").endswith("Z")
    assert event.pop("hash") != event.pop("prev_hash") == "0" * 64
    assert event.pop("response_time_ms") >= 0
    assert event == {
        "id": 1,
        "actor_type": "api_key",
        "actor_id": "key_0",
        "actor_name": "key_0",
        "api_key_prefix": "",
        "action": "things.change",
        "method": "PUT",
        "path": "/api/shop/blog",
        "resource_type": "thing",
        "resource_id": "blog",
        "client_ip": "127.0.0.1",
        "user_agent": "curl/8",
        "request_id": answer.headers["X-Request-ID"],
        "request_body": '{"count":3}',
        "response_status": 200,
        "success": True,
        "error_message": "",
        "metadata": {"changed": ["name"], "share": "0.5"},
    }


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"count": "many"}, 400, "count: Not a valid integer"),
        ({"outcome": "conflict"}, 409, "It is in use"),
        ({"outcome": "crash"}, 500, "An unexpected error occurred"),
    ],
)
def test_a_change_that_fails_is_one_event_with_the_answers_error(
    bench: Any, body: Any, status: int, error: str
) -> None:
    assert bench.change(**body).status_code == status
    event = only(bench)
    assert (event["response_status"], event["success"]) == (status, False)
    assert event["error_message"].startswith(error)
    assert "traceback" not in str(event)


@pytest.mark.parametrize("data", [b"{", b"password=hunter22", b'{"a": "\xff"}', b"[" * 5000])
def test_a_body_that_cannot_be_read_is_not_kept(bench: Any, data: bytes) -> None:
    assert bench.client.put("/api/shop/x", data=data).status_code == 400
    assert only(bench)["request_body"] == ""


def test_who_may_not_is_recorded_with_every_method(bench: Any) -> None:
    somebody = bench.session(["audit:read"])
    assert somebody.get("/api/shop/x").status_code == 403
    assert somebody.put("/api/shop/x", json={"password": "hunter22"}).status_code == 403
    change, read = bench.events()
    assert (read["action"], read["actor_type"], read["response_status"]) == ("thing.read", "user", 403)
    assert read["error_message"] == "Permission denied: shop:read required"
    assert (change["action"], change["request_body"]) == ("things.change", "")


def test_an_ordinary_read_is_no_event_unless_reads_are_recorded(make_bench: Any) -> None:
    bench = make_bench()
    bench.client.get("/api/shop/x")
    bench.client.get("/api/shop/x?page=2")
    assert bench.events() == []


def test_reads_are_recorded_on_demand_but_not_health_and_documents(make_bench: Any) -> None:
    bench = make_bench(record_reads=True)
    for path in ("/api/shop/x", "/api/health", "/api/openapi.json", "/api/nothing"):
        bench.client.get(path)
    assert [(event["action"], event["resource_id"]) for event in bench.events()] == [("thing.read", "x")]


def test_reading_a_secret_is_one_event_also_when_it_is_refused(bench: Any) -> None:
    bench.client.get("/api/shop/x/env")
    bench.session([]).get("/api/shop/x/env")
    assert [event["response_status"] for event in bench.events()] == [403, 200]


def test_each_attempt_to_log_in_is_one_event_and_keeps_no_password(bench: Any) -> None:
    for outcome in ("no", "no", "done"):
        bench.nobody.post(
            "/api/shop/login", json={"outcome": outcome, "password": "hunter22", "key": "abcd1234"}
        )
    events = bench.events()
    assert [event["success"] for event in events] == [True, False, False]
    assert [event["actor_name"] for event in events] == ["ada", "", ""]
    assert {event["action"] for event in events} == {"auth.login"}
    assert "hunter22" not in str(events)
    assert "abcd1234" not in str(events)


def test_what_matches_no_route_is_no_event(bench: Any) -> None:
    bench.client.put("/api/nothing", json={})
    bench.client.open("PATCH", "/api/shop/x")
    assert bench.events() == []


def test_the_parameters_of_a_query_are_kept_without_secrets_and_not_in_the_path(bench: Any) -> None:
    bench.client.put("/api/shop/x?force=true&token=hunter22&url=http://u:hunter22@h/", json={})
    event = only(bench)
    assert event["path"] == "/api/shop/x"
    assert event["metadata"]["query"] == {
        "force": "true",
        "token": "[REDACTED]",
        "url": "http://[REDACTED]@h/",
    }


def test_bodies_are_left_out_on_demand(make_bench: Any) -> None:
    bench = make_bench(capture_request_body=False)
    bench.change(count=3)
    assert only(bench)["request_body"] == ""


def test_an_error_that_repeats_a_secret_is_kept_without_it(bench: Any) -> None:
    answer = bench.change(outcome="echo hunter22", password="hunter22")
    assert "hunter22" in answer.get_json()["error"]
    assert only(bench)["error_message"] == "Not good: [REDACTED]"


def test_what_a_client_sends_is_bounded_and_harmless(bench: Any) -> None:
    agent = "\x1b[2J\u202eevil" + "x" * 5000
    bench.client.put(
        "/api/shop/" + "%1b%5b" * 400, json={}, headers={"User-Agent": agent.encode().decode("latin-1")}
    )
    event = only(bench)
    assert len(event["user_agent"]) == 255
    assert len(event["resource_id"]) == 255
    assert not [
        char for char in event["user_agent"] + event["path"] if ord(char) < 32 or 0x7F <= ord(char) < 0xA0
    ]


def test_nothing_is_recorded_while_the_audit_is_off_and_its_routes_say_so(make_bench: Any) -> None:
    bench = make_bench(enabled=False)
    bench.change()
    bench.services.get(RECORD).write(RecordedEvent("x.y", "x"))
    assert bench.sql("SELECT COUNT(*) FROM audit_event") == [(0,)]
    for method, path in [
        ("GET", "/api/audit/events"),
        ("GET", "/api/audit/events/1"),
        ("GET", "/api/audit/stats"),
        ("POST", "/api/audit/export"),
        ("DELETE", "/api/audit/cleanup"),
    ]:
        answer = bench.client.open(method, path)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "AUDIT_DISABLED")
        assert bench.nobody.open(method, path).status_code == 401


def test_switching_the_audit_off_leaves_a_trace_and_counts_at_once(
    flatrun_app: Any, flatrun_client: Any, tmp_path: Any
) -> None:
    from flatrun_audit import plugin

    config = tmp_path / "flatrun.yml"
    config.write_text(f"deployments_path: {tmp_path}\nauth: {{api_keys: [{ADMIN_KEY}]}}\n")
    client = flatrun_client(flatrun_app(plugins=[plugin], config=config))
    assert client.put("/api/settings", json={"audit": {"enabled": False}}).status_code == 200
    assert client.get("/api/audit/events").status_code == 503
    assert (
        client.put("/api/settings", json={"audit": {"enabled": True, "retention_days": 7}}).status_code == 200
    )
    listed = client.get("/api/audit/events").get_json()["events"]
    assert [event["action"] for event in listed] == ["settings.update", "settings.update"]
    assert client.get("/api/settings").get_json()["settings"]["audit"] == {
        "enabled": True,
        "retention_days": 7,
        "capture_request_body": True,
        "record_reads": False,
        "on_failure": "refuse",
    }


@pytest.mark.parametrize("wrong", [{"retention_days": 0}, {"on_failure": "maybe"}, {"enabled": "yes"}])
def test_a_wrong_setting_is_refused(flatrun_app: Any, flatrun_client: Any, tmp_path: Any, wrong: Any) -> None:
    from flatrun_audit import plugin

    config = tmp_path / "flatrun.yml"
    config.write_text(f"deployments_path: {tmp_path}\nauth: {{api_keys: [{ADMIN_KEY}]}}\n")
    client = flatrun_client(flatrun_app(plugins=[plugin], config=config))
    assert client.put("/api/settings", json={"audit": wrong}).status_code == 400


def test_with_authentication_off_everybody_is_anonymous(flatrun_app: Any, bench: Any) -> None:
    from flatrun_audit import plugin

    app = flatrun_app(plugins=[plugin], settings={"auth.enabled": False})
    client = ApiClient(app, None)
    client.post("/api/audit/export", json={})
    assert client.get("/api/audit/events").get_json()["events"][0]["actor_type"] == "anonymous"


def test_work_that_is_no_request_is_written_with_who_does_it(bench: Any) -> None:
    record = bench.services.get(RECORD)
    record.write(
        RecordedEvent("users.reset_password", "user", "1", Actor("system", "cli", "cli"), metadata={"a": 1})
    )
    record.write(
        RecordedEvent("certificates.renew", "certificate", error="No answer from http://u:pw1234@h/")
    )
    failed, done = bench.events()
    assert (done["actor_type"], done["actor_id"], done["resource_id"], done["success"]) == (
        "system",
        "cli",
        "1",
        True,
    )
    assert (done["method"], done["path"], done["response_status"], done["metadata"]) == ("", "", 0, {"a": 1})
    assert (failed["actor_id"], failed["success"]) == ("flatrun", False)
    assert failed["error_message"] == "No answer from http://[REDACTED]@h/"


def test_an_event_in_a_transaction_that_is_undone_was_never_there(bench: Any) -> None:
    def work() -> None:
        with bench.database.atomic():
            bench.services.get(RECORD).write(RecordedEvent("x.y", "x"))
            raise LookupError

    with pytest.raises(LookupError):
        work()
    bench.change()
    assert [event["action"] for event in bench.events()] == ["things.change"]
    assert bench.verify().whole
