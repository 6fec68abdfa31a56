from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_deployments.interpolation import interpolate
from flatrun_deployments.ports import Port, read_expose, read_ports, unique_texts


@pytest.mark.parametrize(
    ("entry", "text", "target", "host"),
    [
        ("80", "80", 80, ()),
        (80, "80", 80, ()),
        ("8080:80", "8080:80", 80, (8080,)),
        ("127.0.0.1:8080:80", "8080:80", 80, (8080,)),
        ("127.0.0.1::80", "80", 80, ()),
        ("[::1]:8080:80", "8080:80", 80, (8080,)),
        ("::1:8080:80", "8080:80", 80, (8080,)),
        ("[2001:db8::1]::80", "80", 80, ()),
        ("53:53/udp", "53:53/udp", 53, (53,)),
        ("53:53/UDP", "53:53/udp", 53, (53,)),
        ("53:53/tcp", "53:53", 53, (53,)),
        ("132/sctp", "132/sctp", 132, ()),
        ("3000-3002", "3000-3002", 3000, ()),
        ("3000-3002:4000-4002", "3000-3002:4000-4002", 4000, (3000, 3001, 3002)),
        ("8000-9000:80", "8000-9000:80", 80, ()),
        ({"target": 80, "published": "8080", "protocol": "tcp", "mode": "host"}, "8080:80", 80, (8080,)),
        ({"target": 80, "published": 8080}, "8080:80", 80, (8080,)),
        ({"target": "53", "published": "53", "protocol": "udp", "host_ip": "::1"}, "53:53/udp", 53, (53,)),
        ({"target": 80}, "80", 80, ()),
        ({"target": 80, "published": ""}, "80", 80, ()),
        ("${PORT:-8080}:80", "8080:80", 80, (8080,)),
        ("${KNOWN}:80", "9000:80", 80, (9000,)),
        ("$KNOWN:80", "9000:80", 80, (9000,)),
        ("${UNKNOWN}:80", "${UNKNOWN}:80", 80, ()),
        ("${UNKNOWN:?no}:80/udp", "${UNKNOWN:?no}:80/udp", 80, ()),
        ("8080:${UNKNOWN}", "8080:${UNKNOWN}", None, (8080,)),
        ("${IP}:${UNKNOWN:+a:b}:80", "80", 80, ()),
        ("${IP}:${OTHER}:${TARGET:-80}", "${OTHER}:80", 80, ()),
        ("${ALL}", "${ALL}", None, ()),
        ({"target": 80, "published": "${UNKNOWN}"}, "${UNKNOWN}:80", 80, ()),
        ("70000:80", "70000:80", 80, ()),
        ("0:80", "0:80", 80, ()),
        ("9-1:80", "9-1:80", 80, ()),
        (" 80:80 ", "80:80", 80, (80,)),
    ],
)
def test_an_entry_is_understood(entry: Any, text: str, target: int | None, host: tuple[int, ...]) -> None:
    (port,) = read_ports([entry], {"KNOWN": "9000"})
    assert port.text == text
    assert port.target_port == target
    assert port.host_ports == host


@pytest.mark.parametrize(
    "entry", [None, True, "", " ", [], {}, {"published": 80}, {"target": ""}, 1.5, "8080:"]
)
def test_what_is_no_port_is_left_out(entry: Any) -> None:
    assert read_ports([entry, "80"], {}) == (Port("80"),)


@pytest.mark.parametrize("entries", [None, "80:80", {"80": "80"}, 5])
def test_what_is_no_list_has_no_ports(entries: Any) -> None:
    assert read_ports(entries, {}) == ()


def test_expose_has_targets_only() -> None:
    assert unique_texts(read_expose(["80", 81, "53/udp", "80"], {})) == ("80", "81", "53/udp")


def test_the_host_address_is_kept() -> None:
    assert [port.host_ip for port in read_ports(["[::1]:1:2", "127.0.0.1:1:2", "1:2"], {})] == [
        "::1",
        "127.0.0.1",
        "",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("$$", "$"),
        ("a$$b", "a$b"),
        ("$A", "1"),
        ("${A}", "1"),
        ("$Ax", None),
        ("${A}x", "1x"),
        ("$B", None),
        ("${B:-d}", "d"),
        ("${B-d}", "d"),
        ("${E-d}", ""),
        ("${E:-d}", "d"),
        ("${A:-d}", "1"),
        ("${B:-${A}}", "1"),
        ("${B:-${C:-x}}", "x"),
        ("${B:?no}", None),
        ("${A:?no}", "1"),
        ("${A:+y}", "y"),
        ("${B:+y}", ""),
        ("${E+y}", "y"),
        ("${E:+y}", ""),
        ("${", None),
        ("$", None),
        ("${}", None),
        ("${1}", None),
        ("${A!x}", None),
        ("${B:-a:b/c}", "a:b/c"),
        ("${A}${A}", "11"),
        ("${B:-}", ""),
    ],
)
def test_variables_are_replaced_as_far_as_they_are_known(text: str, value: str | None) -> None:
    assert interpolate(text, {"A": "1", "E": ""}) == value


def test_deep_and_long_texts_stay_unknown() -> None:
    assert interpolate("${A:-" * 50 + "}" * 50, {}) is None
    assert interpolate("${A:-" * 100_000, {}) is None


@given(
    st.text(st.sampled_from("${}:-?+AB1x"), max_size=40),
    st.dictionaries(st.sampled_from("AB"), st.text(max_size=3)),
)
def test_any_text_is_replaced_or_unknown(text: str, env: dict[str, str]) -> None:
    value = interpolate(text, env)
    assert value is None or isinstance(value, str)


@given(
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.sampled_from(["", "127.0.0.1", "[::1]"]),
    st.sampled_from(["tcp", "udp"]),
)
def test_short_and_long_form_say_the_same(host: int, target: int, address: str, protocol: str) -> None:
    short = f"{address}:{host}:{target}/{protocol}" if address else f"{host}:{target}/{protocol}"
    long = {"target": target, "published": str(host), "host_ip": address.strip("[]"), "protocol": protocol}
    assert read_ports([short], {}) == read_ports([long], {})


@given(
    st.lists(
        st.text(st.sampled_from("0189:-/[]${}utcp.x "), max_size=20)
        | st.integers()
        | st.none()
        | st.dictionaries(st.sampled_from(["target", "published"]), st.text(max_size=5) | st.integers())
    )
)
def test_any_entries_can_be_shown(entries: list[Any]) -> None:
    for port in read_ports(entries, {}):
        assert port.text
        assert all(0 < number < 65536 for number in port.host_ports)
