"""``flatrun audit verify``, on exports and on the database."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flatrun_core.cli import main


@pytest.fixture
def run(config: Path) -> Any:
    """Return a function that runs the command with the panel's configuration."""

    def call(*arguments: str, data: bytes = b"") -> Result:
        return CliRunner().invoke(main, ["--config", str(config), "audit", "verify", *arguments], input=data)

    return call


def export(bench: Any, path: Path, **body: Any) -> Path:
    path.write_bytes(bench.export(**body).get_data())
    return path


def test_a_good_database_is_whole(bench: Any, run: Any) -> None:
    for _ in range(3):
        bench.change()
    result = run()
    assert result.exit_code == 0, result.output
    assert result.output.startswith("3 events in the database\nfirst: 1, ")
    assert result.output.endswith("The chain is whole.\n")


def test_a_tampered_database_is_named(bench: Any, run: Any) -> None:
    events = [bench.change() and bench.events()[0] for _ in range(3)]
    bench.sql("UPDATE audit_event SET actor_name = 'eve' WHERE id = 2")
    result = run("--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert found["broken"] == {
        "id": 2,
        "event_id": events[1]["event_id"],
        "reason": "it was changed: its hash is not that of its content",
    }
    assert "The chain is broken at event 2 (" in run().output


def test_a_good_and_a_tampered_export(bench: Any, run: Any, tmp_path: Path) -> None:
    for _ in range(3):
        bench.change()
    path = export(bench, tmp_path / "export.json")
    assert run(str(path)).exit_code == 0
    path.write_text(path.read_text().replace("key_0", "key_1", 1))
    result = run(str(path))
    assert result.exit_code == 1
    assert "The chain is broken at event 3" in result.output


def test_a_filtered_export_needs_to_be_called_so(bench: Any, run: Any, tmp_path: Path) -> None:
    for thing in "abab":
        bench.change(thing)
    path = export(bench, tmp_path / "export.json", resource_id="b")
    result = run(str(path))
    assert result.exit_code == 1
    assert "say --filtered" in result.output
    result = run("--filtered", str(path))
    assert result.exit_code == 0
    assert "2 links could not be checked" in result.output


def test_checkpoints_are_shown_with_what_is_known_of_their_signature(
    bench: Any, run: Any, tmp_path: Path
) -> None:
    bench.change()
    bench.client.delete("/api/audit/cleanup?older_than=0")
    path = export(bench, tmp_path / "export.json")
    assert "1 events up to 1 deleted at" in run().output
    assert "signed by this panel" in run().output
    assert "signed by this panel" in run(str(path)).output
    (bench.path.parent / "signing.key").unlink()
    assert "signature not checked" in run(str(path)).output
    assert not (bench.path.parent / "signing.key").exists()


def test_an_export_can_be_verified_where_there_is_no_panel(bench: Any, tmp_path: Path) -> None:
    bench.change()
    path = export(bench, tmp_path / "export.json")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("flatrun")), "audit", "verify", str(path)],
        cwd=elsewhere,
        env={"PATH": os.environ["PATH"], "FLATRUN_DEPLOYMENTS_PATH": str(elsewhere / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(elsewhere.iterdir()) == []


def test_what_an_export_says_does_nothing_to_the_terminal(run: Any, bench: Any) -> None:
    mark = {"checkpoint": {"last_deleted_id": "x", "hash": 1}}
    event = {
        "id": 7,
        "event_id": "\x1b[2J",
        "timestamp": "\x1b[2J",
        "action": "audit.cleanup",
        "metadata": mark,
    }
    result = run("-", data=json.dumps([event]).encode())
    assert result.exit_code == 1
    assert "\x1b" not in result.output


def test_a_byte_order_mark_is_no_matter(run: Any, bench: Any) -> None:
    bench.change()
    assert run("-", data=b"\xef\xbb\xbf" + bench.export().get_data()).exit_code == 0


def test_the_standard_input_can_be_verified(bench: Any, run: Any) -> None:
    bench.change()
    assert run("-", data=bench.export().get_data()).exit_code == 0


UNREADABLE = {
    b"": "it is empty",
    b"id,event_id,timestamp\r\n1,x,y\r\n": "it is a CSV export",
    b'{"events": []}': "it is not a JSON array of events",
    b"[1, 2]": "it is not an array of events",
    b'[{"a": 1}]': "an element of the array is no event",
    b'[{"id": true}]': "an element of the array is no event",
    b'[{"id": 1': "it is not valid JSON, or ends within an event",
    b'[{"id": 1} {"id": 2}]': "it is not valid JSON",
    b'[{"id": 1}': "it ends in the middle of the array",
    b"[] x": "something follows the array",
    b'[{"id": 1, "a": "\xff"}]': "it is not UTF-8 text",
    b'[{"id": ' + b"9" * 5000 + b"}]": "it is not JSON that a panel wrote",
    b'[{"a": ' + b"[" * 100_000: "it is not JSON that a panel wrote",
}


@pytest.mark.parametrize("data", UNREADABLE, ids=list(UNREADABLE.values()))
def test_what_cannot_be_read_is_told_apart_from_what_is_broken(run: Any, bench: Any, data: bytes) -> None:
    result = run("-", data=data)
    assert result.exit_code == 2, result.output
    assert UNREADABLE[data] in result.output


def test_an_empty_export_has_no_events(run: Any, bench: Any) -> None:
    result = run("-", data=b" [ ] \n")
    assert result.exit_code == 0
    assert result.output.endswith("There are no events to verify.\n")
    found = json.loads(run("--json", "-", data=b"[]").output)
    assert (found["verdict"], found["whole"], found["broken"]) == ("no events", False, None)


def test_an_export_says_what_it_cannot_show_and_the_database_does_not(
    bench: Any, run: Any, tmp_path: Path
) -> None:
    bench.change()
    path = export(bench, tmp_path / "export.json")
    said = "Events after the last one, and a chain that somebody computed anew, cannot be noticed"
    assert said in run(str(path)).output
    assert run(str(path)).output.endswith("The chain is whole.\n")
    assert said not in run().output
    assert json.loads(run("--json", str(path)).output)["end"] == "an export has no signed end"


def test_without_the_panels_key_the_database_is_not_called_whole_and_no_key_is_made(
    bench: Any, run: Any
) -> None:
    bench.change()
    key = bench.path.parent / "signing.key"
    key.unlink()
    result = run()
    assert result.exit_code == 2
    assert "the panel's signing key is not here to check the signature" in result.output
    found = json.loads(run("--json").output)
    assert (found["verdict"], found["whole"], found["broken"]) == ("unsigned", False, None)
    bench.sql("UPDATE audit_event SET path = '/'")
    assert run().exit_code == 1
    assert not key.exists()


@pytest.mark.parametrize("table", ["audit_event", "audit_head", "audit_checkpoint"])
def test_a_table_that_is_gone_is_a_sentence(bench: Any, run: Any, table: str) -> None:
    bench.change()
    bench.sql(f"DROP TABLE {table}")
    result = run()
    assert result.exit_code == 2
    assert f"the database cannot be read as it is (no such table: {table})" in result.output


def test_foreign_rows_and_the_rest_are_told_apart(bench: Any, run: Any) -> None:
    for _ in range(3):
        bench.change()
    bench.sql(
        "INSERT INTO audit_event SELECT 4, 'x', timestamp, actor_type, actor_id, actor_name, api_key_prefix, "
        "action, method, path, resource_type, resource_id, client_ip, user_agent, request_id, request_body, "
        "response_status, response_time_ms, success, error_message, metadata, prev_hash, hash "
        "FROM audit_event WHERE id = 3"
    )
    result = run()
    assert result.exit_code == 1
    assert result.output.splitlines()[-3:] == [
        "1 rows were not written by the panel.",
        "The panel's own events are linked and unchanged.",
        "The chain is broken at event 4: it is not the panel's: it stands after the end of the chain, "
        "event 3.",
    ]
    bench.sql("UPDATE audit_event SET path = '/' WHERE id = 2")
    bench.change()
    found = json.loads(run("--json").output)
    assert (found["broken"]["id"], found["own_events_broken"]["id"], found["foreign_rows"]) == (2, 2, 1)


def test_an_export_prints_no_lines_of_its_own(run: Any, bench: Any) -> None:
    name = "x\nThe chain is whole.\x1b[2J\r"
    event = {"id": 7, "event_id": name, "timestamp": name, "action": "audit.cleanup"}
    mark = {"last_deleted_id": 6, "hash": "", "deleted": 1, "total": 1, "time": name, "signature": "x"}
    event["metadata"] = {"checkpoint": mark}
    result = run("-", data=json.dumps([event]).encode())
    assert "The chain is whole." not in result.output.splitlines()
    assert "\x1b" not in result.output
    assert "\r" not in result.output


def test_a_panel_that_was_never_started_has_nothing_to_verify(run: Any) -> None:
    result = run()
    assert result.exit_code == 2
    assert "there is no database" in result.output


def test_a_file_that_is_no_database_cannot_be_verified(bench: Any, run: Any) -> None:
    bench.database.close()
    for path in bench.path.parent.glob("flatrun.db*"):
        path.unlink()
    bench.path.write_bytes(b"nothing of the kind" * 100)
    assert run().exit_code == 2


MARK = "INSERT INTO audit_checkpoint (last_id, last_hash, deleted, total, time, signature) VALUES "


@pytest.mark.parametrize(
    "number", ["2", "3", "100", 2**52, 2**53, 2**63 - 1, -(2**63), "'abc'", "1.5", "x'ff'"]
)
def test_a_checkpoint_that_is_not_the_panels_hides_no_event(bench: Any, run: Any, number: object) -> None:
    for _ in range(3):
        bench.change()
    bench.sql(f"{MARK} ({number}, '{'a' * 64}', {2**62}, {2**62}, '', '')")
    bench.sql(f"{MARK} ({number}, '{'a' * 64}', 3, 3, '', '')")
    result = run("--json")
    assert result.exit_code == 1, result.output
    found = json.loads(result.output)
    assert (found["first"]["id"], found["last"]["id"] >= 2, found["foreign_rows"]) == (1, True, 0)
    assert "checkpoint" in found["broken"]["reason"]


def test_after_a_cleanup_a_foreign_checkpoint_hides_no_event(bench: Any, run: Any) -> None:
    for _ in range(3):
        bench.change()
    bench.cleaner.clean(0)
    bench.change()
    bench.sql(f"{MARK} (4, '{'a' * 64}', 1, 4, '', '')")
    found = json.loads(run("--json").output)
    assert (found["events"], found["foreign_rows"], found["broken"]["id"]) == (1, 0, 4)
    assert found["broken"]["reason"] == "a checkpoint is not signed by this panel"


def test_what_nobody_foresaw_ends_with_a_sentence(
    bench: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprising() -> None:
        raise OverflowError("Python int too large")

    bench.change()
    bench.sql(f"{MARK} (1, CAST(x'ff' AS TEXT), 1, 1, '', '')")
    result = run()
    assert (result.exit_code, "Error: it cannot be verified: " in result.stderr) == (2, True)
    monkeypatch.setattr("flatrun_audit.models.Checkpoint.all_rows", surprising)
    result = run()
    assert result.exit_code == 2
    assert "it holds what was not foreseen (OverflowError: Python int too large)" in result.stderr
