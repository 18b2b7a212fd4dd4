"""Asked before something is destroyed, with how much of it: on a terminal, unless --yes is said."""

import sys
from typing import Annotated

import typer

from events.cli.output import refused
from events.text import printable

Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]


def can_ask() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin.isatty()


def confirm(question: str, *, yes: bool, needed: bool = False) -> None:
    """Ask, if somebody can be asked. "No" ends the command, with exit code 1.

    Args:
        needed: where nobody can be asked, --yes is needed. For what can't be undone and that no script does by itself.
    """
    if yes:
        return
    if can_ask():
        typer.confirm(printable(question), abort=True, err=True)
    elif needed:
        raise refused(f"{question} Say --yes if that is meant")
