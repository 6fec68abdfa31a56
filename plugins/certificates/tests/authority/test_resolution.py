"""The resolver that the settings name."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_certificates.resolution import resolver_at, split_address


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_an_address_alone_or_with_a_port(text: str, wanted: tuple[str, int]) -> None:
    assert split_address(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "dns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[2001:db8::53", "[]:5",
             "192.0.2.53:x", "[2001:db8::53]x", "192.0.2.53:" + "9" * 50, "1.2.3", "a:b:c", "192.0.2.53 "]
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        split_address(text)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_with_every_port_comes_back(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert split_address(text) == (str(address), port)


@given(st.text() | st.text("0123456789abcdef:.[]"))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address, port = split_address(text)
    except ValueError:
        return
    assert ipaddress.ip_address(address)
    assert 1 <= port <= 65535


def test_the_named_resolver_is_the_only_one() -> None:
    made = resolver_at("192.0.2.53:5353", 3)
    assert ([str(one) for one in made.nameservers], made.port, made.lifetime) == (["192.0.2.53"], 5353, 3)
    assert made.search == []
