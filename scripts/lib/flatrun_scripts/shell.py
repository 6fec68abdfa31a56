"""Running programs and talking to the person who started the script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 15


class ScriptError(Exception):
    """The script cannot go on.

    Args:
        what: what failed, as a sentence.
        why: the reason, often the last lines a program wrote.
        todo: what the person can do about it.
    """

    def __init__(self, what: str, why: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why.strip()
        self.todo = todo


@dataclass(frozen=True)
class Result:
    """What a finished program left behind."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams, for a message."""
        return "\n".join(part for part in (self.out.strip(), self.err.strip()) if part)


def say(text: str) -> None:
    """Write one line for the person."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def step(text: str) -> None:
    """Announce a step that may take a while."""
    say(f"==> {text}")


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a long output."""
    return "\n".join(text.strip().splitlines()[-lines:])


def run(
    argv: Sequence[str | Path],
    *,
    data: bytes | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 1800,
) -> Result:
    """Run a program to its end and never raise for its exit code.

    A program that does not exist answers 127, one that takes too long 124, as in a shell.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=b"" if data is None else data,
            capture_output=True,
            check=False,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            timeout=timeout,
        )
    except FileNotFoundError:
        return Result(127, "", f"{words[0]}: not found")
    except subprocess.TimeoutExpired:
        return Result(124, "", f"{words[0]} did not finish within {timeout:.0f} s")
    return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def run_bytes(argv: Sequence[str | Path]) -> bytes:
    """Run a program that writes data and return it, nothing when the program fails."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


def must(
    argv: Sequence[str | Path],
    *,
    what: str,
    todo: str = "",
    data: bytes | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Result:
    """Run a program and stop the script with a clear sentence when it fails."""
    result = run(argv, data=data, env=env, cwd=cwd)
    if result.code != 0:
        command = " ".join(str(word) for word in argv)
        raise ScriptError(what, f"{command}\n{tail(result.text)}", todo)
    return result


def as_root(argv: Sequence[str | Path]) -> list[str]:
    """Return the argument list that runs `argv` with root's rights."""
    words = [str(word) for word in argv]
    if os.geteuid() == 0:
        return words
    if shutil.which("sudo") is None:
        raise ScriptError(
            f"'{' '.join(words)}' needs root's rights.",
            "This user is not root and there is no sudo.",
            "Run the script as root.",
        )
    # -n where nobody can type a password: a prompt nobody sees would hang for ever.
    return ["sudo", *([] if sys.stdin.isatty() else ["-n"]), *words]


def program(main: Callable[[list[str]], int]) -> int:
    """Run a script's main function and turn a stop into a message and an exit code."""
    try:
        return main(sys.argv[1:])
    except ScriptError as stop:
        report(stop)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the script again to go on.\n")
        return 130


def report(stop: ScriptError) -> None:
    """Print why the script stops, and what to do."""
    sys.stdout.flush()
    sys.stderr.write(f"\nFAILED: {stop.what}\n")
    for title, text in (("Why", stop.why), ("What to do", stop.todo)):
        if text:
            body = "\n".join(f"    {line}" for line in text.splitlines())
            sys.stderr.write(f"  {title}:\n{body}\n")
