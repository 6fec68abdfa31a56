"""The groups of settings: what is taken, what is refused, what is never shown."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from flatrun_certificates.settings import PRODUCTION, STAGING, CertbotSchema, CertbotSettings


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
     ("dns_provider", "a\nb"), ("enabled", "yes")],
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
