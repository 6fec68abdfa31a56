"""Programs in containers, as an Engine may answer that the real one at hand does not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.docker import DockerEngine
from flatrun_core.docker.inside import Frames
from flatrun_core.errors import Conflict, DockerUnavailable, Failed, Invalid, TimedOut

ID, RUN = "a" * 64, "b" * 64


def frame(number: int, data: bytes) -> bytes:
    return bytes([number, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def answers(stub: Any, *, code: int | None = 0, running: bool = False) -> None:
    stub.answers[f"/containers/{ID}/exec"] = {"Id": RUN}
    stub.answers[f"/exec/{RUN}/json"] = {"Running": running, "ExitCode": code}


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2]), st.text(st.characters(codec="utf-8", exclude_characters="\x1b")))
    ),
    st.lists(st.integers(min_value=1, max_value=30), min_size=1),
)
def test_frames_are_put_together_however_they_are_cut(
    pieces: list[tuple[int, str]], sizes: list[int]
) -> None:
    data = b"".join(frame(number, text.encode() + b"\n") for number, text in pieces)
    frames, at, turn = Frames(), 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        frames.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert frames.end().both() == "".join(f"{text}\n" for _, text in pieces)


def test_frames_of_no_stream_are_left_out() -> None:
    frames = Frames()
    frames.feed(frame(1, b"one\n") + frame(3, b"the Engine speaks\n") + frame(1, b"two\n"))
    assert frames.end().both() == "one\ntwo\n"


@pytest.mark.parametrize(
    ("reason", "code"), [("executable file not found in $PATH", 127), ("permission denied", 126)]
)
def test_an_engine_that_refuses_a_program_it_cannot_start(
    engine: DockerEngine, stub: Any, reason: str, code: int
) -> None:
    answers(stub)
    text = f'OCI runtime exec failed: exec: "nginx": {reason}'
    stub.answers[f"/exec/{RUN}/start"] = ({"message": text}, 400)
    done = engine.exec(ID, ["nginx"], timeout=5)
    assert (done.returncode, done.output) == (code, f"{text}\n")


@pytest.mark.parametrize("status", [404, 409])
def test_a_container_that_stopped_between_two_requests(engine: DockerEngine, stub: Any, status: int) -> None:
    answers(stub)
    stub.answers[f"/exec/{RUN}/start"] = ({"message": f"No such exec instance: {RUN}"}, status)
    with pytest.raises(Conflict) as caught:
        engine.exec(ID, ["nginx"], timeout=5)
    assert caught.value.code == "CONTAINER_NOT_RUNNING"


def test_another_refusal_is_told(engine: DockerEngine, stub: Any) -> None:
    stub.answers[f"/containers/{ID}/exec"] = ({"message": "out of everything"}, 500)
    with pytest.raises(Failed, match="out of everything"):
        engine.exec(ID, ["nginx"], timeout=5)


def test_a_connection_that_breaks_is_an_engine_that_is_gone(engine: DockerEngine, stub: Any) -> None:
    answers(stub)

    def broken(request: Any) -> None:
        request.stream()
        request.wfile.write(b"ff\r\nhalf")
        request.close_connection = True

    stub.answers[f"/exec/{RUN}/start"] = broken
    with pytest.raises(DockerUnavailable):
        engine.exec(ID, ["nginx"], timeout=5)


def test_a_program_that_never_tells_its_end_is_not_waited_for(engine: DockerEngine, stub: Any) -> None:
    answers(stub, code=None, running=True)
    stub.answers[f"/exec/{RUN}/start"] = frame(2, b"begun\n")
    with pytest.raises(TimedOut) as caught:
        engine.exec(ID, ["nginx"], timeout=0.3)
    assert caught.value.details["output"] == "begun\n"


def test_an_argument_that_cannot_be_sent_is_refused(engine: DockerEngine, stub: Any) -> None:
    with pytest.raises(Invalid):
        engine.exec(ID, ["nginx", "\udc80"], timeout=5)
    assert stub.requests == []
