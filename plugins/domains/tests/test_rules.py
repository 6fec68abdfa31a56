"""What values of an entry may be, and what reading any file gives: properties."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.ports.deployments import Deployment, Service
from flatrun_core.site_rules import check_path
from flatrun_domains import rules
from flatrun_domains.entries import Entry, checked, from_json, read, to_json
from flatrun_domains.table import build

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda label: not label.startswith("xn--")
)
HOST = st.tuples(LABEL, st.sampled_from(["example", "example.com"])).map(".".join)
SIGNS = "abcXYZ019._~!*+,=:@&-"
PART = st.text(SIGNS, min_size=1, max_size=8).filter(lambda part: part.strip("."))
PATH = st.lists(PART, max_size=4).map(lambda parts: "/" + "/".join(parts))
# What means something to a shell, to nginx or to a reader of addresses.
HARMFUL = set(" \t\r\n\0;{}\"'`$\\%#?|<>()[]^")


@given(PATH)
def test_a_good_path_is_kept_and_is_kept_again(path: str) -> None:
    if path.startswith(rules.CHALLENGES):
        return
    assert rules.path(path) == path
    assert rules.path(path.rstrip("/") + "/") == path


@given(st.text() | st.text("/.%;{} $ab", max_size=12))
def test_whatever_is_taken_as_a_path_is_harmless(text: str) -> None:
    try:
        known = rules.path(text)
    except ValueError:
        return
    assert known.startswith("/")
    assert known == "/" or not known.endswith("/")
    assert known.isascii()
    assert not HARMFUL & set(known)
    assert "//" not in known
    assert not {".", ".."} & set(known.split("/"))
    assert rules.path(known) == known
    check_path(known)


@given(st.text() | st.text("ab.-_*;:{} $\n1", max_size=20))
def test_whatever_is_taken_as_a_host_is_harmless(text: str) -> None:
    try:
        known = rules.host(text)
    except ValueError:
        return
    assert set(known) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert known.count(".") >= 1
    assert len(known) <= 253
    assert rules.host(known) == known


@given(st.text() | st.text("0123456789kmgKMGt. -", max_size=12))
def test_whatever_is_taken_as_a_size_is_a_number_of_bytes(text: str) -> None:
    try:
        known = rules.size(text)
    except ValueError:
        return
    assert 0 <= known < 1 << 64


@pytest.mark.parametrize("text", ["/...", "/a/..../b", "//", "/a b"])
def test_a_path_that_is_refused_is_told_what_paths_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"no part of it may be empty or of dots alone$"):
        rules.path(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("10", 10), ("1k", 1024), ("500m", 500 << 20), ("2G", 2 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert rules.size(text) == size


GOOD = st.fixed_dictionaries(
    {
        "service": st.just("web"),
        "domain": HOST,
        "container_port": st.integers(1, 65535),
        "path_prefix": PATH.filter(lambda path: not path.startswith(rules.CHALLENGES)),
        "proxy_timeout": st.none() | st.integers(1, 86400),
        "max_body_size": st.none() | st.sampled_from(["0", "1k", "500m"]),
        "ssl": st.fixed_dictionaries({"enabled": st.booleans(), "auto_cert": st.booleans()}),
        "aliases": st.lists(HOST.map("www.{}".format), max_size=3, unique=True),
    }
)


@given(GOOD, st.booleans())
def test_an_entry_survives_the_database(values: dict[str, Any], strip: bool) -> None:
    values["strip_prefix"] = strip and values["path_prefix"] != "/"
    values["aliases"] = [alias for alias in values["aliases"] if alias != values["domain"]]
    entry = checked(values, "x")
    assert from_json(to_json([entry])) == (entry,)
    assert (entry.path, entry.port) == (values["path_prefix"], values["container_port"])
    assert {"enabled": entry.tls, "auto_cert": entry.auto_cert} == values["ssl"]


def deployment(metadata: Any) -> Deployment:
    now = datetime.now(UTC)
    return Deployment(
        name="blog",
        path=Path("/blog"),
        status="stopped",
        created_at=now,
        updated_at=now,
        services=(Service("web", "stopped", "none", ports=("8080:80",)),),
        metadata=metadata,
        project="blog",
        compose_file=Path("/blog/docker-compose.yml"),
        primary_service="web",
    )


STORED = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=8),
        "domain": st.text(max_size=12) | HOST,
        "service": st.sampled_from(["web", "api", "a;b", ""]),
        "container_port": st.integers(1, 65535),
        "path_prefix": st.text(max_size=8) | PATH,
        "strip_prefix": st.booleans(),
        "proxy_timeout": st.integers(-5, 90000),
        "max_body_size": st.text(max_size=5),
        "ssl": st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "auto_cert": st.booleans()}),
        "aliases": st.lists(st.text(max_size=5) | HOST, max_size=3),
    },
)


@given(st.lists(STORED, max_size=6))
def test_reading_any_entries_never_fails_and_gives_each_an_id_of_its_own(entries: list[Any]) -> None:
    reading = read(deployment({"networking": {"expose": True}, "domains": entries}))
    assert len(reading.stored) == len(entries)
    assert len({one.id for one in reading.stored}) == len(entries)
    assert all(rules.ID.fullmatch(one.id) for one in reading.stored)
    assert all((one.entry is None) == bool(one.problem) for one in reading.stored)
    assert [one.id for one in read(deployment({"domains": entries})).stored] == [
        one.id for one in reading.stored
    ]


ENTRY = st.builds(
    Entry,
    id=st.just("x"),
    service=st.sampled_from(["web", "api"]),
    domain=HOST,
    port=st.just(80),
    path=st.sampled_from(["/", "/a", "/a/b"]),
    tls=st.booleans(),
    aliases=st.lists(HOST, max_size=2).map(tuple),
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.lists(ENTRY, max_size=4)), HOST)
def test_a_host_is_in_one_site_and_a_path_of_it_has_one_target(
    deployments: dict[str, list[Entry]], panel: str
) -> None:
    table = build(sorted(deployments.items()), panel, panel_ssl=True)
    names = [name for plans in table.sites.values() for plan in plans for name in plan.names]
    assert len(names) == len(set(names))
    assert set(names) == set(table.owners)
    for plans in table.sites.values():
        for plan in plans:
            paths = [route.path for route in plan.routes]
            assert paths == sorted(set(paths), key=lambda path: (-len(path), path))
            assert plan.names[0] in table.owners
    for host, together in table.together.items():
        assert host in together
    wanted = {(name, entry.path) for one in deployments.values() for entry in one for name in entry.names}
    served = {
        (name, route.path)
        for plans in table.sites.values()
        for plan in plans
        for name in plan.names
        for route in plan.routes
    }
    assert served - {(panel, "/")} <= wanted
