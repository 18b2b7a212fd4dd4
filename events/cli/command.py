"""The command `events`: which module has which subcommand; errors are one line, never a traceback."""

import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer
from sqlalchemy.exc import DBAPIError

from events.cli import (
    bridge,
    contract,
    dead,
    doctor,
    handlers,
    history,
    ledger,
    monitoring,
    parked,
    prune,
    publishing,
    relaying,
    tailing,
    unhandled,
)
from events.cli.help_pages import App
from events.cli.output import complaint
from events.current_pipeline import serve
from events.django import start
from events.errors import EventsError
from events.handling import other_events
from events.release import own_version
from events.store import refusal

app = App(
    name="events",
    help="Domain events that are never lost. Settings come from the environment: docs/settings.md has their table. "
    "Pages that are named docs/... are in the project's source repository, and are not installed.",
    pretty_exceptions_enable=False,
)
app.command()(ledger.migrate)
app.command()(relaying.relay)
app.command()(bridge.bridge)
app.command()(ledger.status)
app.command()(publishing.publish)
app.command()(history.show)
app.command()(history.find)
app.command()(tailing.tail)
app.command()(contract.catalog)
app.command()(contract.asyncapi)
app.command()(doctor.doctor)
app.command()(prune.prune)
app.add_typer(dead.app, name="dead")
app.add_typer(handlers.app, name="handlers")
app.add_typer(parked.app, name="parked")
app.add_typer(unhandled.app, name="unhandled")
app.add_typer(monitoring.app, name="monitoring")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"events {own_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None: ...


def main() -> None:
    """Entry point; exit codes: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""
    run(None)


def run(arguments: Sequence[str] | None, program: str | None = None) -> None:
    """Run the command, and end the process.

    Args:
        arguments: of the command; None for those of this process.
        program: what help pages call the command.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal that can't show a letter shows its number, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # the stream's descriptor was closed and belongs to another file now
                stream.reconfigure(errors="backslashreplace")
    if other := other_events():
        why = "hides this package from programs that start in this folder, such as `celery -A events worker`"
        print(complaint(f"{other} has the name of this package, and {why}; rename it"), file=sys.stderr)
    try:
        start()
        serve()
        app(arguments, prog_name=program)
    except EventsError as error:
        sys.exit(complaint(error))
    except DBAPIError as error:
        sys.exit(complaint(refusal(error)))
    except KeyboardInterrupt:
        sys.exit(130)
