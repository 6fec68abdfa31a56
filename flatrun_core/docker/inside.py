"""Runs one program in a container, by the Engine's own interface for it."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

from flatrun_core.docker.client import EngineClient, RefusedError, Stream
from flatrun_core.errors import Invalid, TimedOut
from flatrun_core.ports.programs import Completed
from flatrun_core.program_output import ProgramOutput

_HEADER: Final = 8
_STREAMS: Final = {1: "stdout", 2: "stderr"}
_PAUSE: Final = 0.02
_NOT_STARTED: Final = "oci runtime exec failed"
_NOT_FOUND: Final = ("executable file not found", "no such file or directory")


def run_inside(client: EngineClient, container_id: str, args: tuple[str, ...], timeout: float) -> Completed:
    """Run it to its end; see ``Engine.exec``. What the Engine refuses is a ``RefusedError``."""
    deadline = time.monotonic() + timeout
    output = Frames()
    try:
        number = _made(client, container_id, args)
        _read(client, number, output, timeout)
        code = _exit_code(client, number, deadline)
    except _OverLimitError as exc:
        text = f"{args[0]} took longer than {timeout:g} seconds and is no longer waited for"
        raise TimedOut(text, output=output.end().both()) from exc
    except RefusedError as exc:
        if _NOT_STARTED not in exc.message.lower():
            raise
        # Some Engines say it in place of an answer, others as the program's output.
        code = 127 if any(words in exc.message for words in _NOT_FOUND) else 126
        return Completed(args, code, "", f"{exc.message}\n")
    done = output.end()
    return Completed(args, code, done.stdout(), done.both())


class _OverLimitError(Exception):
    """The limit has come."""


class Frames:
    """Takes the Engine's frames apart: 8 bytes of stream and length, then the bytes themselves."""

    def __init__(self) -> None:
        self._output = ProgramOutput()
        self._header = bytearray()
        self._stream: str | None = None
        self._left = 0

    def feed(self, chunk: bytes) -> None:
        """The next bytes, cut anywhere."""
        at = 0
        while at < len(chunk):
            at += self._text(chunk[at : at + self._left]) if self._left else self._head(chunk[at:])

    def end(self) -> ProgramOutput:
        """Everything that came."""
        for stream in _STREAMS.values():
            self._output.end(stream)
        return self._output

    def _head(self, chunk: bytes) -> int:
        taken = chunk[: _HEADER - len(self._header)]
        self._header += taken
        if len(self._header) == _HEADER:
            self._stream = _STREAMS.get(self._header[0])
            self._left = int.from_bytes(self._header[4:], "big")
            self._header.clear()
        return len(taken)

    def _text(self, piece: bytes) -> int:
        if self._stream is not None:
            self._output.add(self._stream, piece)
        self._left -= len(piece)
        return len(piece)


def _made(client: EngineClient, container_id: str, args: tuple[str, ...]) -> str:
    body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(args)}
    try:
        "\0".join(args).encode()
    except UnicodeEncodeError as exc:
        raise Invalid("A program's argument cannot be encoded") from exc
    return str(client.request("POST", f"/containers/{container_id}/exec", body=body)["Id"])


def _read(client: EngineClient, number: str, output: Frames, timeout: float) -> None:
    # A little more, so that the limit is noticed by the timer and told from an Engine that is gone.
    stream = client.post_stream(f"/exec/{number}/start", body={"Detach": False}, timeout=timeout + 5)
    with _closed_after(timeout, stream):
        for chunk in stream:
            output.feed(chunk)


@contextlib.contextmanager
def _closed_after(timeout: float, stream: Stream) -> Iterator[None]:
    """Close the stream at the limit, whether it is silent or prints without end, and say so."""
    over = threading.Event()

    def close() -> None:
        over.set()
        stream.close()

    timer = threading.Timer(timeout, close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        stream.close()
    if over.is_set():
        raise _OverLimitError


def _exit_code(client: EngineClient, number: str, deadline: float) -> int:
    """How it ended: a moment after its output, or much later when it closed that before its end."""
    while True:
        found = client.request("GET", f"/exec/{number}/json")
        if not found["Running"] and found["ExitCode"] is not None:
            return int(found["ExitCode"])
        if time.monotonic() >= deadline:
            raise _OverLimitError
        time.sleep(_PAUSE)
