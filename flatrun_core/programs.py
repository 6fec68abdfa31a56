"""Runs programs for everybody: bounded in time and in memory, and never by a shell."""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, cast

from flatrun_core.errors import Failed, Invalid, TimedOut, Unavailable
from flatrun_core.ports.programs import Completed, Programs
from flatrun_core.program_output import ProgramOutput, check_arguments

logger = logging.getLogger(__name__)

_POLL: Final = 0.05
_CHUNK: Final = 1 << 16
_INHERITED: Final = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"),
    *("DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)


class ProgramRunner(Programs):
    """Each program gets a session of its own, no input unless given, and no descriptor of ours.

    ``grace`` is how many seconds a program over its limit has to end by itself after SIGTERM.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, *, grace: float = 2.0) -> None:
        source = os.environ if environ is None else environ
        self._environ = {name: source[name] for name in _INHERITED if name in source}
        self._environ.setdefault("PATH", os.defpath)
        self._environ.setdefault("HOME", str(Path("~").expanduser()))
        self._grace = grace
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(
        self,
        args: Sequence[str],
        *,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        """Run to the end; see the port. What the program left running in its group ends with it."""
        started = time.monotonic()
        process = self._start(tuple(args), cwd, {**self._environ, **(env or {})}, stdin is not None)
        reader = _Reader(process, stdin)
        ended = False
        try:
            ended = reader.drain(started + timeout)
        finally:
            with self._lock:
                self._running.discard(process)
            # In this order: what a program says at its end must not meet a closed pipe.
            _end_group(process, 0.0 if ended else self._grace)
            reader.close()
        name = Path(args[0]).name
        if not ended:
            logger.warning("%s was ended after its limit of %g seconds", name, timeout)
            text = f"{name} took longer than {timeout:g} seconds and was stopped"
            raise TimedOut(text, output=reader.output())
        logger.debug("%s ended with %d after %.2f s", name, process.returncode, time.monotonic() - started)
        return Completed(tuple(args), process.returncode, reader.stdout(), reader.output())

    def stop(self) -> None:
        """End what still runs and start nothing more: a program must not work on when nobody holds its lock.

        Returns once all have ended, within the grace and a moment.
        """
        with self._lock:
            self._stopped = True
        self._signal(signal.SIGTERM)
        until = time.monotonic() + self._grace
        while self._running and time.monotonic() < until:
            time.sleep(_POLL)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Under the lock, because what is in the set is not reaped yet: the number is still its own.
        with self._lock:
            for process in self._running:
                logger.warning("process %d is sent %s, as the panel stops", process.pid, number.name)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)

    def _start(
        self, args: tuple[str, ...], cwd: Path | None, env: Mapping[str, str], with_input: bool
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise Unavailable("The panel is stopping", code="SHUTTING_DOWN")
            process = _start(args, cwd, env, with_input)
            self._running.add(process)
        return process


def _start(
    args: tuple[str, ...], cwd: Path | None, env: Mapping[str, str], with_input: bool
) -> subprocess.Popen[bytes]:
    check_arguments(args)
    if any("\0" in text for text in (*env, *env.values())):
        raise Invalid("A program's environment contains a NUL character")
    name = Path(args[0]).name
    try:
        return subprocess.Popen(  # noqa: S603 - an argument list, never a shell
            args,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if with_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except UnicodeEncodeError as exc:
        raise Invalid("A program's argument cannot be encoded") from exc
    except (FileNotFoundError, NotADirectoryError, PermissionError) as exc:
        if cwd is not None and not os.access(cwd, os.X_OK):
            raise Failed(f"{name} cannot run: its folder is missing or not readable") from exc
        raise Unavailable(f"{name} is not installed or may not be run", code="PROGRAM_MISSING") from exc
    except OSError as exc:
        raise Failed(f"{name} cannot be started: {os.strerror(exc.errno or 0)}") from exc


class _Reader:
    """Feeds a program and reads both of its streams, so that neither side ever blocks the other."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes | None) -> None:
        self._process = process
        self._stdin = memoryview(stdin or b"")
        self._output = ProgramOutput()
        self._streams: dict[IO[bytes], str] = {}
        self._selector = selectors.DefaultSelector()
        for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
            if stream is not None:
                self._streams[stream] = name
                self._selector.register(stream, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)

    def drain(self, deadline: float) -> bool:
        """Read until the program has ended; False when the deadline came first."""
        look = time.monotonic() + _POLL
        while self._selector.get_map():
            now = time.monotonic()
            if now >= deadline:
                return False
            # A program that ended may have left another one behind which keeps the pipes open.
            if now >= look:
                if _has_ended(self._process):
                    return self._take_rest()
                look = now + _POLL
            self._step(min(deadline - now, _POLL))
        return _wait(self._process, deadline)

    def _take_rest(self) -> bool:
        for _ in range(64):  # a pipe holds at most 1 MiB, and its other writers may never stop
            if not self._step(0):
                break
        return True

    def _step(self, timeout: float) -> int:
        ready = self._selector.select(timeout)
        for key, _ in ready:
            stream = cast(IO[bytes], key.fileobj)
            if key.events == selectors.EVENT_WRITE:
                self._write(stream)
            else:
                self._read(stream)
        return len(ready)

    def _write(self, stream: IO[bytes]) -> None:
        try:
            self._stdin = self._stdin[os.write(stream.fileno(), self._stdin[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._stdin = memoryview(b"")
        if not self._stdin:
            self._selector.unregister(stream)
            stream.close()

    def _read(self, stream: IO[bytes]) -> None:
        data = os.read(stream.fileno(), _CHUNK)
        if data:
            self._output.add(self._streams[stream], data)
        else:
            self._output.end(self._streams[stream])
            self._selector.unregister(stream)

    def close(self) -> None:
        """Close the pipes; what was read stays."""
        self._selector.close()
        for stream in (self._process.stdin, *self._streams):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        for name in self._streams.values():
            self._output.end(name)

    def stdout(self) -> str:
        return self._output.stdout()

    def output(self) -> str:
        return self._output.both()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ended; it is not reaped, so that its group's number cannot become another's."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _wait(process: subprocess.Popen[bytes], deadline: float) -> bool:
    pause = 0.0005
    while not _has_ended(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, _POLL)
    return True


def _end_group(process: subprocess.Popen[bytes], grace: float) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if grace:
            os.killpg(process.pid, signal.SIGTERM)
            _wait(process, time.monotonic() + grace)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
