"""Commands that destroy something ask first, on a terminal, and say how much they would destroy. --yes answers."""

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
    """Ask, if standard input is a terminal. "No" ends the command, with exit code 1.

    Args:
        needed: without a terminal, the command needs --yes. For commands that can't be undone and that no script runs
            by itself.

    Raises BadParameter: there is no terminal, and --yes is needed.
    """
    if yes:
        return
    if can_ask():
        typer.confirm(printable(question), abort=True, err=True)
    elif needed:
        raise refused(f"{question} Say --yes to confirm")
