"""What the commands print: tables and colours on a terminal, plain aligned text in a pipe, or JSON.

Results go to stdout, notes, warnings and progress to stderr. Values are printed as they are, never
read as markup, and control characters in table cells are replaced.
"""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that `flatrun` starts at once

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rich.style import Style

_STYLES: Final = (
    ({"ok", "active", "running", "healthy", "completed"}, {"fg": "green"}),
    ({"warning", "unknown", "unavailable", "starting", "restarting", "queued"}, {"fg": "yellow"}),
    ({"error", "failed", "unhealthy", "dead"}, {"fg": "red", "bold": True}),
    ({"stopped", "disabled", "none", "exited", "created"}, {"dim": True}),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; ``right`` aligns numbers, ``wrap`` False keeps a cell on one line."""

    title: str
    right: bool = False
    wrap: bool = True


class State(str):
    """A word of a fixed set, shown in its colour on a terminal."""

    __slots__ = ()

    @property
    def style(self) -> Mapping[str, Any]:
        """Colour and weight, as ``click.style`` takes them."""
        return next((style for words, style in _STYLES if str(self) in words), {})


class Output:
    """Prints for one invocation of ``flatrun``. With ``json`` nothing but ``data`` reaches stdout."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json

    @property
    def terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return sys.stdout.isatty()

    def data(self, value: Any) -> None:
        """A JSON document on stdout; dates and paths become strings."""
        click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))

    def result(self, value: Any, text: str) -> None:
        """``value`` with ``--json``, else ``text``."""
        if self.json:
            self.data(value)
        else:
            self.line(text)

    def line(self, text: str) -> None:
        """One line on stdout, as it is."""
        click.echo(text, color=True)

    def note(self, text: str) -> None:
        """A remark on stderr; silent with ``--json``."""
        if not self.json:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """A warning on stderr."""
        click.echo(f"Warning: {text}", err=True)

    def state(self, word: str) -> State:
        """The word in its colour: running green, stopped dim, error red, unknown yellow."""
        return State(word)

    def paint(self, word: State, *, width: int = 0) -> str:
        """The word filled up to ``width``, in its colour where there are colours."""
        text = word.ljust(width)
        return click.style(text, **word.style) if self.terminal and not os.environ.get("NO_COLOR") else text

    def table(
        self, columns: Sequence[str | Column], rows: Iterable[Sequence[object]], *, empty: str = ""
    ) -> None:
        """A table; ``empty`` is a note printed instead when there are no rows."""
        heads = [column if isinstance(column, Column) else Column(column) for column in columns]
        cells = [[_cell(value) for value in row] for row in rows]
        if not cells and empty:
            self.note(empty)
        elif self.terminal:
            _rich_table(heads, cells)
        else:
            for text in _plain_table(heads, cells):
                click.echo(text)

    def fields(self, pairs: Sequence[tuple[str, object]]) -> None:
        """``Name:  value`` lines with the values aligned."""
        width = max((len(name) for name, _ in pairs), default=0) + 1
        for name, value in pairs:
            click.echo(f"{name + ':':<{width}}  {_cell(value)}".rstrip())

    def progress(self, text: str) -> AbstractContextManager[None]:
        """Shows on a terminal that something takes its time; nothing in a pipe or with ``--json``."""
        return contextlib.nullcontext() if self.json or not sys.stderr.isatty() else _spinner(text)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, State):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value) or "-"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value))


def _plain_table(heads: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = [[head.title.upper() for head in heads], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(heads))]
    for line in lines:
        padded = (
            cell.rjust(width) if head.right else cell.ljust(width)
            for head, cell, width in zip(heads, line, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()


def _rich_table(heads: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(Text(head.title), justify="right" if head.right else "left", no_wrap=not head.wrap)
    for row in rows:
        table.add_row(*(Text(cell, style=_rich_style(cell)) for cell in row))
    Console().print(table)


def _rich_style(cell: str) -> "Style":
    from rich.style import Style

    style = cell.style if isinstance(cell, State) else {}
    return Style(color=style.get("fg"), bold=style.get("bold"), dim=style.get("dim"))


@contextlib.contextmanager
def _spinner(text: str) -> Iterator[None]:
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)):
        yield
