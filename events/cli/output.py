"""How commands print: tables for people, text between tabs for pipes, JSON for scripts.

Every text is made fit for a terminal: see events.text.escaping. No text is markup.
"""

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from events.cli.tables import INDENT, Column, Layout, wrapped
from events.text import first_line, printable, redact

console = Console(markup=False, emoji=False, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

_LABEL = 13  # cells of the name of a field
_MOST = 240  # characters of a text in a table on a terminal; pipes and --json get all of it


def is_terminal() -> bool:
    """Whether standard output is a terminal, which a person reads, and not a pipe to a program."""
    return sys.stdout.isatty()


def say(text: object) -> None:
    """Print a line on standard output. On a terminal, a long line is broken between words."""
    typer.echo(_folded(printable(text), terminal=is_terminal()))


def say_lines(text: object) -> None:
    """Print text of several lines, such as a traceback. Indented, so that its author can't forge a line of ours."""
    typer.echo(INDENT + printable(text, lines=True).replace("\n", f"\n{INDENT}"))


def remark(text: object) -> None:
    """Print a line that is not data: into standard error, if standard output is a pipe."""
    if is_terminal():
        say(text)
    else:
        typer.echo(printable(text), err=True)


def hint(text: str) -> None:
    """Print what a person may do next; nothing into a pipe."""
    if is_terminal():
        say(text)


def complain(text: object) -> None:
    """Print a line on standard error, without secrets."""
    typer.echo(complaint(text), err=True)


def complaint(text: object) -> str:
    """The line with which a command fails or complains, without secrets."""
    return _folded(f"events: {printable(redact(str(text)))}", terminal=sys.stderr.isatty())


def refused(text: object) -> typer.BadParameter:
    """The error to raise for wrong usage: exit code 2."""
    return typer.BadParameter(printable(redact(str(text))))


def heading(text: object) -> None:
    """Print a heading above lines that belong together."""
    if is_terminal():
        lines = wrapped(printable(text), console.width)
        for line in lines:
            _print(line, "bold")
        _print("─" * min(console.width, max(map(cell_len, lines), default=1)), "dim")
    else:
        say(text)


def print_fields(fields: Iterable[tuple[str, object]], *, whole: Collection[str] = ()) -> None:
    """Print a line for each field: its label and its value.

    Args:
        whole: labels of fields whose values people copy: they are not broken into lines.
    """
    for label, value in fields:
        text = "" if value is None else printable(value)
        room = console.width - _LABEL
        lines = [text] if label in whole or not is_terminal() or cell_len(text) <= room else wrapped(text, room)
        typer.echo(f"{label:<{_LABEL}}" + ("\n" + _LABEL * " ").join(lines))


def print_json(value: Any) -> None:
    """Print one JSON document on standard output, with UUIDs and times as text."""
    typer.echo(as_json(value, indent=2))


def as_json(value: Any, indent: int | None = None) -> str:
    """The value as JSON. Characters that can't be printed are escaped as JSON escapes them."""
    is_unicode = "utf" in (sys.stdout.encoding or "").lower()
    text = json.dumps(value, default=str, indent=indent, ensure_ascii=not is_unicode)
    return text if text.isascii() and "\x7f" not in text else re.sub("[^\x00-\x7e]", _escaped, text)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    texts: Sequence[str] = (),
    styles: Mapping[str, str] | None = None,
) -> None:
    """Print a table for people; into a pipe a line of titles and a line for each row, between tabs, with nothing cut.

    Args:
        rows: cells. None is empty, a list has several lines, an int is written for people with separators.
        right: columns of numbers, which are aligned to the right.
        texts: columns of text, which is broken between words, and cut if it is long.
        styles: styles of rows, by the text of their first cell.
    """
    if not is_terminal():
        typer.echo("\t".join(map(printable, columns)))
        for row in rows:
            typer.echo("\t".join(", ".join(_lines(cell, grouped=False)) for cell in row))
        return
    kinds = [Column(name, name in right, name in texts) for name in columns]
    cells = [_cells(kinds, row) for row in rows]
    layout = Layout(kinds, cells, console.width)
    _print(title, "bold")
    header = list(layout.header())
    for line in header:
        _print(line, "bold cyan")
    _print("─" * min(console.width, max(map(len, (title, *header)))), "dim")
    for number, row in enumerate(cells):
        if number and layout.is_stacked:
            _print("")
        for line in layout.row(row):
            _print(line, (styles or {}).get(" ".join(row[0]), ""))


def shown_time(value: datetime | None) -> str:
    """A time to the second, in UTC; "" for None."""
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M:%S")


def _cells(columns: Sequence[Column], row: Sequence[object]) -> list[list[str]]:
    return [_text(cell) if column.wraps else _lines(cell) for column, cell in zip(columns, row, strict=True)]


def _folded(text: str, *, terminal: bool) -> str:
    if not terminal or cell_len(text) <= console.width:
        return text
    return f"\n{INDENT}".join(wrapped(text, console.width - len(INDENT)))


def _print(line: str, style: str = "") -> None:
    console.print(Text(line, style), soft_wrap=True)


def _lines(cell: object, *, grouped: bool = True) -> list[str]:
    if isinstance(cell, list | tuple):
        return [printable(line) for line in cell]
    if isinstance(cell, int) and not isinstance(cell, bool) and grouped:
        return [f"{cell:,}"]
    return [] if cell is None else [printable(cell)]


def _text(cell: object) -> list[str]:
    if not isinstance(cell, str):
        return [", ".join(_lines(cell))]
    first = first_line(cell)
    return [printable(first if len(first) <= _MOST else f"{first[: _MOST - 1]}…")]


def _escaped(character: re.Match[str]) -> str:
    return character[0] if character[0].isprintable() else json.dumps(character[0])[1:-1]
