"""What of a body is kept: no secret, in whatever it is wrapped, and never more than 10,000 characters."""

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_audit.canonical import ZERO, text_of
from flatrun_audit.drafting import begun, drafted
from flatrun_audit.hiding import SECRET
from flatrun_audit.process import this_process
from flatrun_audit.redaction import DIGESTED, VARIABLES, redacted, redacted_query, secrets_in
from flatrun_audit.settings import AuditSettings
from flatrun_core.ports.auth import Actor, RecordedOutcome, RecordedRequest


def digest(text: str) -> dict[str, Any]:
    return {"length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


KEYS = """password PassWord db_passwd client-secret X-Auth-Token api_key apiKey API-Key apikey Authorization
registry_credential private_key privateKey set.cookie passphrase pass_phrase pwd totp_code recovery_code
bearer Bearer jwt userJwt JWT otp OTP smsOtp otp_value pin PIN card-pin pinCode signature sig url_sig
access_key awsAccessKey ssh_key sshKeys pass db_pass passcode x-auth X-Auth-User recovery_codes
eab_hmac_key"""
WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "password")


@pytest.mark.parametrize("key", [*KEYS.split(), WIDE])
@pytest.mark.parametrize("value", ["hunter22", ["hunter22"], {"x": {"y": "hunter22"}}, 12345678, None, True])
def test_whatever_stands_under_the_name_of_a_secret_is_hidden(key: str, value: Any) -> None:
    for body in ({key: value}, {"a": [{"b": {key: value}}]}):
        text = redacted(body)
        assert "hunter22" not in text
        assert "12345678" not in text
        assert '"[REDACTED]"' in text
        assert json.loads(text)


def test_the_value_of_a_pair_and_every_variable_is_hidden_and_the_names_stay() -> None:
    body = {
        "labels": [{"key": "A", "value": "one"}],
        "env_vars": [
            {"key": "B", "value": "two"},
            {"name": "C", "value": "three", "note": "four"},
            "D=five",
            "six",
        ],
        "env": {"E": "seven", "name": "eight"},
        "services": [{"environment": ["F=nine"]}, {"environment": {"G": {"H": "ten"}}}],
        "envVars": "eleven",
    }
    assert json.loads(redacted(body)) == {
        "labels": [{"key": "A", "value": "[REDACTED]"}],
        "env_vars": [
            {"key": "B", "value": "[REDACTED]"},
            {"name": "C", "value": "[REDACTED]", "note": "[REDACTED]"},
            "D=[REDACTED]",
            "[REDACTED]",
        ],
        "env": {"E": "[REDACTED]", "name": "[REDACTED]"},
        "services": [{"environment": ["F=[REDACTED]"]}, {"environment": {"G": "[REDACTED]"}}],
        "envVars": "[REDACTED]",
    }


def test_compose_texts_file_contents_and_sql_become_length_and_hash() -> None:
    text = "services: {db: {environment: {POSTGRES_PASSWORD: hunter22}}}"
    body = {
        "compose": text,
        "compose_content": text,
        "files": [{"path": "a.env", "content": "A=hunter22"}],
        "sql": "SELECT 'hunter22'",
        "query": {"text": "hunter22"},
    }
    found = json.loads(redacted(body))
    assert found["compose"] == found["compose_content"] == digest(text)
    assert found["files"] == [{"path": "a.env", "content": digest("A=hunter22")}]
    assert found["sql"] == digest("SELECT 'hunter22'")
    assert "hunter22" not in str(found)


def test_key_and_code_are_secrets_in_logins_and_keys_and_words_elsewhere() -> None:
    body = {"key": "abcd1234", "code": "123456"}
    assert json.loads(redacted(body)) == body
    for action in ("auth.login", "apikeys.create", "users.totp.confirm"):
        assert json.loads(redacted(body, action=action)) == {"key": "[REDACTED]", "code": "[REDACTED]"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("postgresql://u:p@ss@db/x", "postgresql://[REDACTED]@db/x"),
        ("see https://token@host/a and http://b/c@d", "see https://[REDACTED]@host/a and http://b/c@d"),
        ("a@b.org", "a@b.org"),
    ],
)
def test_names_and_passwords_in_urls_are_hidden(text: str, kept: str) -> None:
    assert json.loads(redacted({"where": [text]})) == {"where": [kept]}


def test_what_is_not_secret_is_kept_as_it_is() -> None:
    body = {
        "shipping": 1,
        "footprint": "x",
        "compass": "n",
        "passenger": "p",
        "author": "ada",
        "mapping": "m",
        "link": "https://host/a?page=2&sort=name#part",
        "text": "[not json] a=b",
        "bypass": 1,
        "spinning": 1,
        "name": "blog",
        "port": 8080,
        "auto_start": True,
        "note": None,
        "rate": 0.5,
        "names": ["ä", "\n"],
    }
    assert json.loads(redacted(body)) == body


def test_redaction_comes_before_cutting() -> None:
    text = redacted({"a": "x" * 9_980, "password": "hunter22" * 10, "b": "y" * 50_000})
    assert len(text) == 10_000
    assert "hunter" not in text


@pytest.mark.parametrize(
    "body",
    [
        {"a": "x" * 1_000_000},
        {"a": ["password"] * 90_000},
        {f"key{n}": n for n in range(80_000)},
        {"env_vars": [{"key": "A", "value": "hunter22"}] * 30_000},
    ],
    ids=["text", "list", "object", "variables"],
)
def test_of_a_huge_body_the_beginning_is_kept(body: Any) -> None:
    assert len(redacted(body)) == 10_000
    assert secrets_in(body) <= {"hunter22"}


def test_a_deep_body_is_kept_as_far_as_it_goes() -> None:
    body: Any = "hunter22"
    for _ in range(900):
        body = {"a": [body]}
    assert '"[TOO DEEP]"' in redacted({"x": body, "last": 1})
    assert '"last":1' in redacted({"x": body, "last": 1})
    assert "[TOO DEEP]" in redacted({"content": nested(100_000)})


def nested(depth: int) -> Any:
    body: Any = []
    for _ in range(depth):
        body = [body]
    return body


def test_control_characters_are_harmless() -> None:
    text = redacted({"a\x1b": "b\x1b[2J\u202e\x7f\u2028", "c": "line\n\ttab"})
    assert json.loads(text) == {"a\ufffd": "b\ufffd[2J\ufffd\ufffd\ufffd", "c": "line\n\ttab"}


def test_a_query_string_is_bounded_and_hides_secrets() -> None:
    assert redacted_query("a=1&password=hunter22&key=abcd&b=" + "x" * 500) == {
        "a": "1",
        "password": "[REDACTED]",
        "key": "[REDACTED]",
        "b": "x" * 200,
    }
    assert len(redacted_query("&".join(f"a{n}=1" for n in range(150)))) == 20
    assert redacted_query("&".join(f"a{n}=1" for n in range(10_000))) == {"": "[TOO MANY]"}


SECRETS = st.text("0123456789abcdef", min_size=24, max_size=24).map(lambda text: f"<<{text}>>")
PLAIN = st.text(max_size=8) | st.integers() | st.booleans() | st.none()
NAMES = st.text(max_size=6)


def disguised(name: str) -> st.SearchStrategy[str]:
    parts = st.sampled_from(["", "_", "-", "my_", "X-"])
    return st.tuples(parts, st.sampled_from([name, name.upper(), name.title()]), parts).map("".join)


HIDING = st.sampled_from(SECRET).flatmap(disguised) | st.sampled_from(sorted(VARIABLES | DIGESTED))


@st.composite
def bodies(draw: st.DrawFn) -> tuple[Any, set[str]]:
    """A body and the secrets that stand under a hiding name somewhere in it."""
    hidden: set[str] = set()

    def secret() -> Any:
        text = draw(SECRETS)
        hidden.add(text)
        return draw(st.sampled_from([text, [text], {"a": text}, {"b": [{"c": text}]}, [{"d": text}, text]]))

    def value(depth: int) -> Any:
        kind = draw(st.sampled_from(["plain", "object", "list", "secret", "pair"])) if depth else "plain"
        if kind == "secret":
            return {draw(HIDING): secret()}
        if kind == "pair":
            return {"key": draw(NAMES), "value": secret()}
        if kind == "list":
            return [value(depth - 1) for _ in range(draw(st.integers(0, 3)))]
        if kind == "object":
            return {draw(NAMES): value(depth - 1) for _ in range(draw(st.integers(0, 3)))}
        return draw(PLAIN)

    body = {"x": value(5), draw(HIDING): secret()}
    whole = json.dumps(body)
    return body, {text for text in hidden if text in whole}  # a name drawn twice loses the first value


@given(bodies(), st.sampled_from(["auth.login", "deployments.create", ""]))
def test_no_secret_is_in_what_is_kept_however_it_is_wrapped(made: tuple[Any, set[str]], action: str) -> None:
    body, hidden = made
    text = redacted(body, action=action)
    assert json.loads(text) or text
    assert [secret for secret in hidden if secret in text] == []
    assert hidden <= secrets_in(body, action=action)


@given(bodies(), st.sampled_from(["PUT", "GET"]))
def test_no_secret_is_anywhere_in_the_event(made: tuple[Any, set[str]], method: str) -> None:
    body, hidden = made
    query = urlencode([("page", "1"), *(("token", secret) for secret in hidden)])
    request = RecordedRequest(
        "r1", method, "/api/things/x", "/api/things/<thing>", query, "things.change", "thing", "x",
        Actor("user", "1", "ada"), None, "10.0.0.1", "curl/8", 1_700_000_000.5, method == "PUT", False, body,
    )  # fmt: skip
    outcome = RecordedOutcome(400, 3, error=f"Not good: {' and '.join(hidden) if method == 'PUT' else ''}")
    text = text_of(drafted(request, outcome, AuditSettings()).entry(1, ZERO))
    assert [secret for secret in hidden if secret in text] == []
    assert json.loads(text)["metadata"]["query"]["page"] == "1"


KEY = "flatrun_" + "aB3-_" * 8 + "xyz"
ELSEWHERE = [
    {"note": f"it is {KEY}."},
    {"notes": [[f"({KEY})"]]},
    {KEY: 1},
    {"env": [f"{KEY}=x", {"key": KEY, "value": "x"}]},
    {"url": f"https://host/?x={KEY}"},
    {"url": "https://host/a?page=1&token=hunter22"},
    {"url": "https://host/a#access_token=hunter22&x=1"},
    {"url": "https://host/a?key=hunter22"},
    {"url": "https://host/a;password=hunter22"},
    {"url": "https://host/a?api%5Fkey=hunter22"},
    {"form": "password=hunter22&name=x"},
    {"url": "url=https://host/a?token=hunter22"},
    {"text": "k=v?token=hunter22"},
    {"text": "host=db,port=5,password=hunter22"},
    {"text": "env=DB_PASSWORD=hunter22"},
    {"text": "JAVA_OPTS=-Dapi.token=hunter22"},
    {"text": "password='not, hunter22' and more"},
    {"json": '{"a": [{"password": "hunter22"}]}'},
    {"json": '\n [{"key": "A", "value": "hunter22"}]'},
    {"json": json.dumps({"again": json.dumps({"pin": "hunter22"})})},
    {"json": json.dumps({"pin": "hunter22", "rest": "x" * 100_000})},
    {"json": "[" * 90_000 + '"hunter22"'},
]


@pytest.mark.parametrize("body", ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_a_secret_is_found_by_its_shape_and_within_other_texts(body: Any) -> None:
    text = redacted(body)
    assert "hunter22" not in text
    assert KEY not in text
    assert json.loads(text)


def test_json_within_a_text_stays_readable_where_it_has_no_secret() -> None:
    body = {"json": '{"name": "x", "pin": "1234"}'}
    assert json.loads(redacted(body)) == {"json": '{"name":"x","pin":"[REDACTED]"}'}
    assert "1234" in secrets_in(body)


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("a=b;password=hunter22", {"a": "b;password=[REDACTED]"}),
        (f"a={KEY}", {"a": "[REDACTED]"}),
        (f"{KEY}=1", {"[REDACTED]": "1"}),
        ('filter={"token":"hunter22"}', {"filter": '{"token":"[REDACTED]"}'}),
        ("next=https%3A%2F%2Fhost%2F%3Ftoken%3Dhunter22", {"next": "https://host/?token=[REDACTED]"}),
        (
            "pin=1&bearer=2&jwt=3&otp=4&sig=5",
            dict.fromkeys(("pin", "bearer", "jwt", "otp", "sig"), "[REDACTED]"),
        ),
    ],
)
def test_secrets_in_a_query_are_hidden_however_they_stand_there(query: str, kept: dict[str, str]) -> None:
    assert redacted_query(query) == kept


def test_a_key_of_the_panel_is_in_no_field_of_an_event() -> None:
    request = RecordedRequest(
        "r1", "PUT", f"/api/things/{KEY}", "/api/things/<thing>", f"a={KEY}", "things.change", "thing", KEY,
        Actor("user", KEY, KEY), None, "10.0.0.1", f"curl/8 {KEY}", 1_700_000_000.5, True, False, {"x": KEY},
    )  # fmt: skip
    outcome = RecordedOutcome(400, 3, error=f"No {KEY}", metadata={"a": [KEY], KEY: 1}, resource_id=KEY)
    entry = drafted(request, outcome, AuditSettings()).entry(1, ZERO)
    assert KEY not in text_of(entry)
    assert entry.path == "/api/things/[REDACTED]"
    assert KEY not in str(begun(request, this_process()))


def test_a_code_is_a_secret_wherever_totp_is_spoken_of() -> None:
    assert json.loads(redacted({"code": "123456"}, action="account.totp.confirm")) == {"code": "[REDACTED]"}


def test_a_secret_that_stood_within_a_text_is_taken_out_of_the_error() -> None:
    body = {"url": "https://host/?token=hunter22", "json": '{"pin": "98765"}'}
    assert {"hunter22", "98765"} <= secrets_in(body)


@pytest.mark.parametrize(("name", "kept"), [("", "[REDACTED]"), ("ada", "ada")])
def test_what_was_typed_as_a_name_is_kept_of_a_login_that_named_its_actor_only(name: str, kept: str) -> None:
    path, typed = "/api/auth/login", {"username": name or "hunter22", "password": "x"}
    request = RecordedRequest(
        "r1", "POST", path, path, "", "auth.login", "auth", "", Actor("anonymous", "", name), None,
        "10.0.0.1", "curl/8", 1_700_000_000.5, True, False, typed,
    )  # fmt: skip
    body = drafted(request, RecordedOutcome(401, 3), AuditSettings()).request_body
    assert json.loads(body) == {"username": kept, "password": "[REDACTED]"}
