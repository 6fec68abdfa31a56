"""What a start finds after the panel was killed in the middle of a creation or a removal."""

import itertools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import Failed
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.deployments import NewDeployment, RemoveOptions
from flatrun_deployments.construction import FINISHING_MARKER, Construction
from flatrun_deployments.discovery import CREATING_MARKER, REMOVED_MARKER
from flatrun_deployments.service import SERVICE

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"
NEW = NewDeployment(
    "blog",
    COMPOSE + "# new\n",
    port=None,
    env={"B": "2"},
    files={"conf/site.conf": "new\n", "more/deep/x.txt": "x\n", "empty/": ""},
    metadata={"networking": {"host_port": 1}},
)
TOUCHING = frozenset(
    {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.truncate"}
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that is gone at its ``step``-th change of the disk; whether it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        counter = itertools.count(1)

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event in TOUCHING and (event != "open" or (args[2] or 0) & WRITING) and next(counter) == step:
                os._exit(9)

        try:
            logging.disable()
            sys.addaudithook(hook)
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def serve(bench: Any) -> None:
    service = bench.app.extensions["flatrun"].services.get(SERVICE)
    service.serve()
    service.shutdown()


def steps() -> Iterator[int]:
    return itertools.count(1)


def without_markers(tree: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in tree.items() if not path.endswith((REMOVED_MARKER, CREATING_MARKER))}


def test_a_creation_killed_at_any_step_is_taken_back_or_complete(bench: Any) -> None:
    bench.names()
    outcomes = set()
    for step in steps():
        if not killed_at(step, lambda: bench.deployments.create(NEW, SYSTEM)):
            break
        listed = bench.names()
        serve(bench)
        names = bench.names()
        assert names == listed, f"step {step}: a start must not change what was listed"
        files = {path.removeprefix("blog/") for path in bench.tree()}
        if names:
            assert files == {
                *("docker-compose.yml", "service.yml", ".env.flatrun", ".flatrun.override.yml"),
                *("conf/site.conf", "more/deep/x.txt"),
            }, f"step {step}"
            bench.deployments.remove("blog", RemoveOptions(files=True), SYSTEM)
        assert names or not files, f"step {step}: {files}"
        assert [p.name for p in bench.root.iterdir()] == [".flatrun"], f"step {step}"
        outcomes.add(bool(names))
    assert outcomes == {True, False}
    assert step > 15


def test_a_creation_over_a_removed_one_killed_at_any_step_loses_nothing(bench: Any) -> None:
    folder = bench.root / "blog"

    def prepare() -> dict[str, bytes]:
        bench.create(compose=COMPOSE, env_vars=[{"key": "A", "value": "1"}])
        (folder / "conf").mkdir()
        (folder / "conf/site.conf").write_text("mine\n")
        (folder / "rows").write_text("precious")
        (folder / "compose.override.yml").write_text("services: {}")
        bench.deployments.remove("blog", RemoveOptions(), SYSTEM)
        tree: dict[str, bytes] = bench.tree()
        return tree

    outcomes = set()
    for step in steps():
        before = prepare()
        if not killed_at(step, lambda: bench.deployments.create(NEW, SYSTEM)):
            break
        serve(bench)
        after = bench.tree()
        if bench.names():
            assert (folder / "docker-compose.yml").read_text() == COMPOSE + "# new\n", f"step {step}"
            assert (folder / ".env.flatrun").read_text() == "A=1\nB=2\n", f"step {step}"
            kept = {path.partition(".bak.")[0]: data for path, data in after.items() if ".bak." in path}
            kept["blog/rows"] = after["blog/rows"]
            assert kept == without_markers(before), f"step {step}"
        else:
            assert after == before, f"step {step}"
        outcomes.add(bool(bench.names()))
        assert not list(folder.glob(".flatrun-[cf]*")), f"step {step}"
        assert not list(bench.root.glob(".flatrun.tmp*")), f"step {step}"
        (folder / REMOVED_MARKER).unlink(missing_ok=True)
        bench.deployments.remove("blog", RemoveOptions(files=True), SYSTEM)
    assert outcomes == {True, False}
    assert step > 20


def test_a_removal_with_files_killed_at_any_step_is_completed_or_has_not_begun(bench: Any) -> None:
    for step in steps():
        bench.create()
        (bench.root / "blog" / "a/b").mkdir(parents=True)
        (bench.root / "blog" / "a/b/c").write_text("c")
        before = bench.tree()
        if not killed_at(step, lambda: bench.deployments.remove("blog", RemoveOptions(files=True), SYSTEM)):
            break
        serve(bench)
        assert bench.tree() == (before if bench.names() else {}), f"step {step}"
        if bench.names():
            bench.deployments.remove("blog", RemoveOptions(files=True), SYSTEM)
    assert step > 3


def test_the_start_says_what_it_did(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    bench.names()
    assert killed_at(12, lambda: bench.deployments.create(NEW, SYSTEM))
    with caplog.at_level(logging.WARNING):
        serve(bench)
    assert "the creation of 'blog' was cut off and has been taken back" in caplog.text
    bench.create()
    (bench.root / "blog" / FINISHING_MARKER).touch()
    with caplog.at_level(logging.WARNING):
        serve(bench)
    assert "'blog' was cut off after its files stood" in caplog.text
    assert bench.names() == ["blog"]
    assert not (bench.root / "blog" / FINISHING_MARKER).exists()


def test_a_folder_that_another_living_process_makes_is_left_alone(bench: Any) -> None:
    bench.names()
    construction = Construction.claim(bench.root, "blog", [], [])
    construction.write("docker-compose.yml", COMPOSE)
    serve(bench)
    assert (bench.root / "blog" / "docker-compose.yml").exists()
    bench.refused(409, "DEPLOYMENT_EXISTS")
    construction.abandon()
    assert not (bench.root / "blog").exists()


def test_a_marker_that_is_not_ours_is_reported_and_nothing_is_deleted(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench.names()
    folder = bench.root / "blog"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    for content in (
        "",
        "{",
        "[]",
        '{"over": false}',
        '{"over": 1, "stamp": "", "saved": 5, "made": [], "folders": []}',
    ):
        (folder / CREATING_MARKER).write_text(content)
        serve(bench)
        assert (folder / "mine.txt").read_text() == "keep"
    assert "look at it by hand" in caplog.text
    bench.refused(409, "DEPLOYMENT_EXISTS")


def test_a_journal_that_was_tampered_with_does_not_reach_out_of_the_folder(
    bench: Any, tmp_path: Path
) -> None:
    bench.names()
    outside = tmp_path / "outside.txt"
    outside.write_text("keep")
    folder = bench.root / "blog"
    folder.mkdir()
    (folder / CREATING_MARKER).write_text(
        '{"over": true, "stamp": "1", "saved": [], "made": ["../../outside.txt"], "folders": []}'
    )
    serve(bench)
    assert outside.read_text() == "keep"


def test_an_unreadable_root_is_told_and_may_be_mended_while_the_panel_runs(bench: Any) -> None:
    bench.names()
    moved = bench.root.with_name("elsewhere")
    bench.root.rename(moved)
    bench.root.write_text("not a folder")
    assert bench.client.get("/api/deployments").get_json()["code"] == "DEPLOYMENTS_UNREADABLE"
    with pytest.raises(Failed):
        serve(bench)
    bench.root.unlink()
    moved.rename(bench.root)
    assert bench.names() == []
