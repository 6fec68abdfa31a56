"""Domains, addresses, names of containers, networks and paths."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatrun_core import fields
from flatrun_core.fields import host_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Blog.Example.COM", "blog.example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("a-b.c1.de", "a-b.c1.de"),
        ("1.example.com", "1.example.com"),
        (("a" * 63 + ".") * 3 + "a" * 61, ("a" * 63 + ".") * 3 + "a" * 61),
    ],
)
def test_a_domain_is_stored_in_one_form(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "localhost",
        "a..b",
        ".a.b",
        "a.b..",
        "-a.example",
        "a-.example",
        "*.example.com",
        "a_b.example",
        "a.example:80",
        "http://a.example",
        "a.example/x",
        "127.0.0.1",
        "::1",
        "[::1]",
        "a b.example",
        "a.b\n",
        "a" * 64 + ".example",
        ("a" * 63 + ".") * 3 + "a" * 62,
        "xn--a.example",
        "xn--.example",
        "ü" * 5000,
        "a.é\u200b/..",
        "a。。b",
        "a;b.example",
        'a".example',
        "$a.example",
        "a.{x}",
    ],
)
def test_refuses_what_is_no_domain(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        host_name(text)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_any_text_is_a_safe_domain_or_a_value_error(text: str) -> None:
    try:
        name = host_name(text)
    except ValueError:
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert host_name(name) == name


@pytest.mark.parametrize("text", ["a@example.com", "a.b+c@sub.example.org"])
def test_an_address_has_the_shape_of_one(text: str) -> None:
    assert fields.Email().deserialize(text) == text


@pytest.mark.parametrize(
    "text", ["", "a", "a@", "@b.c", "a@b c.d", "a b@c.de", "a@b.c\n", "a@b.c\nx", "a" * 250 + "@example.com"]
)
def test_refuses_what_is_no_address(text: str, refuses: Any) -> None:
    assert refuses(fields.Email(), text)


@pytest.mark.parametrize("text", ["-a", ".a", "_a", "a b", "a/b", "a\n", "a;b", "a" * 129, "ä"])
def test_refuses_what_docker_would_not_take_as_a_name(text: str, refuses: Any) -> None:
    assert refuses(fields.ContainerName(), text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::/0", "::/0"),
    ],
)
def test_addresses_are_kept_in_their_canonical_form(text: str, kept: str) -> None:
    assert fields.AddressOrNetwork().deserialize(text) == kept


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.0/33", "fe80::1%eth0", "a.b"]
)
def test_refuses_what_is_no_network(text: str, refuses: Any) -> None:
    assert refuses(fields.AddressOrNetwork(), text)


def test_a_path_starts_at_the_root(refuses: Any) -> None:
    assert fields.AbsolutePath().deserialize("/srv/sites") == Path("/srv/sites")
    for text in ("", "sites", "../sites", "~/sites", "/a\0b"):
        assert refuses(fields.AbsolutePath(), text)
