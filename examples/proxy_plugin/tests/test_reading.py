"""What Caddy understood is compared with what was meant, and nothing may differ."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flatrun_caddy.blocks import blocks
from flatrun_caddy.caddyfile import render
from flatrun_caddy.program import CaddyProgram
from flatrun_caddy.reading import Reading, difference, meant, reading
from flatrun_caddy.settings import CaddySettings, Layout
from flatrun_core.ports.proxy import Site
from flatrun_core.testing.programs import RecordingPrograms

# What `caddy adapt` of 2.6.2 said of `everything`, rendered for /srv/flatrun.
ADAPTED = json.loads((Path(__file__).parent / "data/adapted.json").read_text())
LAYOUT = Layout.of(CaddySettings(), Path("/srv/flatrun"))
# They decide nothing: a file that is hidden, and labels, as long as they agree with each other.
INCIDENTAL = {"hide", "tags", "any_tag"}


@pytest.fixture
def wanted(everything: list[Site]) -> Reading:
    return meant(LAYOUT, blocks(everything))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every leaf of a JSON value, and every list and object."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def parent(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def refused(wanted: Reading, config: Any) -> bool:
    try:
        return bool(difference(wanted, reading(config)))
    except (LookupError, TypeError, AttributeError, ValueError):
        return True


def test_caddy_s_own_json_says_what_was_meant(wanted: Reading) -> None:
    assert difference(wanted, reading(ADAPTED)) == ""


def test_no_value_can_be_another(wanted: Reading) -> None:
    for path in places(ADAPTED):
        if INCIDENTAL & set(path):
            continue
        changed = copy.deepcopy(ADAPTED)
        holder = parent(changed, path)
        old = holder[path[-1]]
        if not isinstance(old, dict | list):
            holder[path[-1]] = (
                not old if isinstance(old, bool) else f"{old}x" if isinstance(old, str) else old + 1
            )
            assert refused(wanted, changed), path


def test_nothing_can_be_missing(wanted: Reading) -> None:
    for path in places(ADAPTED):
        if INCIDENTAL & set(path):
            continue
        changed = copy.deepcopy(ADAPTED)
        del parent(changed, path)[path[-1]]
        # Of every other name nobody but the last route knows anything, so it ends there anyway.
        if path[-1] != "terminal" or "match" in parent(ADAPTED, path):
            assert refused(wanted, changed), path


def test_nothing_can_be_added(wanted: Reading) -> None:
    for path in [(), *places(ADAPTED)]:
        changed = copy.deepcopy(ADAPTED)
        holder = parent(changed, (*path, None))
        if INCIDENTAL & set(path) or not isinstance(holder, dict):
            continue
        holder["more"] = {"handler": "more"}
        assert refused(wanted, changed), path


def test_wildcards_cannot_come_before_names(wanted: Reading) -> None:
    for server in ADAPTED["apps"]["http"]["servers"]:
        changed = copy.deepcopy(ADAPTED)
        changed["apps"]["http"]["servers"][server]["routes"].reverse()
        assert refused(wanted, changed)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"apps": 1}', '{"apps": {"http": null}}', "{"])
def test_an_answer_that_is_no_configuration_refuses(text: str, everything: list[Site], root: Path) -> None:
    programs = RecordingPrograms()
    programs.answer(("caddy", "adapt"), stdout=text)
    problem = CaddyProgram(programs).refusal(LAYOUT, root / "Caddyfile", blocks(everything))
    assert problem.startswith("Caddy's JSON cannot be understood")
    assert [call.args[1] for call in programs.calls] == ["adapt"]


def test_what_is_understood_is_validated_too(everything: list[Site], root: Path) -> None:
    programs = RecordingPrograms()
    programs.answer(("caddy", "adapt"), stdout=json.dumps(ADAPTED))
    file = root / "Caddyfile"
    assert CaddyProgram(programs).refusal(LAYOUT, file, blocks(everything)) == ""
    common = ("--config", str(file), "--adapter", "caddyfile")
    assert [call.args for call in programs.calls] == [
        ("caddy", "adapt", *common),
        ("caddy", "validate", *common),
    ]
    assert all(0 < call.timeout <= 60 for call in programs.calls)


def test_the_words_of_a_refusal_are_the_same_whatever_the_file_was_called(
    everything: list[Site], root: Path
) -> None:
    said = []
    ways = ("loading http app module: provision http: getting tls app: loading tls app module: ", "")
    for name, way in zip(("one", "two"), ways, strict=True):
        programs = RecordingPrograms()
        programs.answer(("caddy", "adapt"), stdout=json.dumps(ADAPTED))
        text = f'{{"level":"info"}}\nError: {way}{root / name}:3: no such thing\n'
        programs.answer(("caddy", "validate"), stderr=text, returncode=1)
        said.append(CaddyProgram(programs).refusal(LAYOUT, root / name, blocks(everything)))
    assert said == ["Caddyfile:3: no such thing"] * 2


@pytest.mark.e2e
def test_the_real_caddy_reads_everything_as_it_was_meant(
    everything: list[Site], caddy: Any, root: Path
) -> None:
    file = root / "Caddyfile"
    for settings in (
        CaddySettings(),
        CaddySettings(bind_address="::1", https_port=8443, admin="localhost:2019"),
    ):
        layout = Layout.of(settings, root)
        file.write_text(render(layout, blocks(everything)))
        args = [caddy.program, "adapt", "--config", str(file), "--adapter", "caddyfile"]
        said = caddy.programs.run(args, timeout=60)
        assert difference(meant(layout, blocks(everything)), reading(json.loads(said.stdout))) == ""
        # As `caddy fmt` would have it, so that nobody is warned of it.
        assert "not formatted" not in said.output
