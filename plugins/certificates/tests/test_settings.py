"""The groups of settings: what is taken, what is refused, what is never shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from flatrun_certificates.settings import PRODUCTION, STAGING, CertbotSchema, CertbotSettings
from flatrun_certificates.trust import Trust
from flatrun_core import Invalid
from flatrun_core.ports.settings import SettingsChange
from flatrun_core.testing.client import ADMIN_KEY


def load(**values: Any) -> CertbotSettings:
    found: CertbotSettings = CertbotSchema().load(values)
    return found


def test_the_defaults_are_the_contracts() -> None:
    found = load()
    assert (found.enabled, found.email, found.staging, found.server, found.preflight) == (
        False, "", False, "", "warn",
    )  # fmt: skip
    assert (found.auto_renewal_enabled, found.renewal_threshold_days) == (True, 0)
    assert found.renewal_check_interval.total_seconds() == 12 * 3600


def test_the_directory_follows_the_settings() -> None:
    assert load().directory == PRODUCTION
    assert load(staging=True).directory == STAGING
    assert load(staging=True, server="https://ca.test/dir").directory == "https://ca.test/dir"


@pytest.mark.parametrize(
    ("name", "value"),
    [("email", "nobody"), ("server", "http://ca.test/dir"), ("server", "ca.test"), ("server", "https://"),
     ("server", "https://ca.test/a b"), ("server", "https://ca.test/\n"), ("certs_path", "certs/live"),
     ("certs_path", "/srv/certs"), ("webroot_path", "html"), ("ca_file", "ca.pem"), ("preflight", "maybe"),
     ("renewal_threshold_days", -1), ("renewal_check_interval", "0s"), ("renewal_check_interval", "often"),
     ("http01_port", 0), ("http01_port", 70000), ("resolver", "dns.example.com"), ("resolver", "1.1.1.1:0"),
     ("resolver", "1.1.1.1:x"), ("resolver", "1.2.3.4:99999"), ("eab_kid", "a\nb"), ("eab_hmac_key", "a\nb"),
     ("dns_provider", "a\nb"), ("dns_provider", "-a"), ("email", "--foo@b.test"), ("email", "-v@b.test"),
     ("server", "--server=https://ca.test"), ("ca_file", "-a"), ("certs_path", "-/live"), ("enabled", "yes")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        load(**{name: value})
    assert name in caught.value.messages_dict


@pytest.mark.parametrize("value", ["", "1.1.1.1", "1.1.1.1:5353", "::1", "[::1]:53", "2001:db8::1"])
def test_a_resolver_is_an_address_with_or_without_a_port(value: str) -> None:
    assert load(resolver=value).resolver == value


@given(value=st.text(max_size=60))
def test_no_text_breaks_the_checks(value: str) -> None:
    for name in ("server", "resolver", "certs_path", "eab_kid", "email"):
        assert set(CertbotSchema().validate({name: value})) <= {name}


def test_the_key_of_an_account_is_never_shown(make_bench: Any) -> None:
    bench = make_bench({"certbot.eab_kid": "kid", "certbot.eab_hmac_key": "c2VjcmV0LWtleQ"})
    shown = bench.admin.get("/api/settings").get_data(as_text=True)
    assert "c2VjcmV0LWtleQ" not in shown
    assert bench.admin.get("/api/settings").get_json()["settings"]["certbot"]["has_eab_hmac_key"] is True
    assert "c2VjcmV0LWtleQ" not in repr(load(eab_hmac_key="c2VjcmV0LWtleQ"))


@pytest.fixture
def change(make_bench: Any, tmp_path: Path) -> Any:
    """A function that changes `certbot` of a panel with a file, and gives the answer; `panel` is on it."""
    config = tmp_path / "flatrun.yml"
    root = {"deployments_path": str(tmp_path / "deployments"), "auth": {"api_keys": [ADMIN_KEY]}}
    config.write_text(json.dumps({**root, "certbot": {"ca_file": str(tmp_path / "gone.pem")}}))
    bench = make_bench(config=config)

    def change(**values: Any) -> Any:
        return bench.admin.put("/api/settings", json={"certbot": values})

    change.panel = bench  # type: ignore[attr-defined]
    return change


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_vouches_for_nobody_is_refused_when_it_is_set(
    change: Any, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    answer = change(ca_file=str(path))
    assert (answer.status_code, answer.get_json()["code"]) == (400, "VALIDATION_ERROR")
    assert f"certbot.ca_file: {path}" in answer.get_json()["error"]
    settings = change.panel.admin.get("/api/settings").get_json()["settings"]
    assert settings["certbot"]["ca_file"] == str(tmp_path / "gone.pem")


def test_a_file_that_is_gone_does_not_stop_other_changes(
    change: Any, made_files: Any, tmp_path: Path
) -> None:
    assert change(email="a@b.example").status_code == 200
    (tmp_path / "ca.pem").write_bytes(made_files()["chain"])
    assert change(ca_file=str(tmp_path / "ca.pem")).status_code == 200
    assert change(ca_file="").status_code == 200


def test_putting_an_earlier_file_back_is_never_refused(tmp_path: Path) -> None:
    trust, name = Trust(), "certbot.ca_file"
    old, new = ({"certbot": CertbotSettings(ca_file=value)} for value in (tmp_path / "gone.pem", ""))
    trust.check(SettingsChange(old, new, frozenset({name})))
    trust.check(SettingsChange(new, old, frozenset({name})))
    with pytest.raises(Invalid):
        trust.check(SettingsChange(new, old, frozenset({name})))
