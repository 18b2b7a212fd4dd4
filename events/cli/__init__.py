"""The command `events`. One module a topic; errors are one line, never a traceback."""

import sys

import typer
from sqlalchemy.exc import DBAPIError

from events.cli import (
    bridge,
    contract,
    correcting,
    dead,
    doctor,
    handlers,
    history,
    ledger,
    monitoring,
    parked,
    publishing,
    relaying,
    tailing,
    unhandled,
    upkeep,
)
from events.errors import EventsError
from events.loading import other_events
from events.settings import redact
from events.store.refusals import refusal

app = typer.Typer(
    name="events",
    help="Domain events that are never lost. Settings come from the environment: see the table in README.md.",
    no_args_is_help=True,
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
dead.app.command()(correcting.edit)
app.command()(contract.catalog)
app.command()(contract.asyncapi)
app.command()(doctor.doctor)
app.command()(upkeep.prune)
app.add_typer(dead.app, name="dead")
app.add_typer(handlers.app, name="handlers")
app.add_typer(parked.app, name="parked")
app.add_typer(unhandled.app, name="unhandled")
app.add_typer(monitoring.app, name="monitoring")


def main() -> None:
    """Entry point; exit codes: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""
    if other := other_events():
        why = "is named as this package is, and hides it from what is started here, such as `celery -A events worker`"
        print(f"events: {other} {why}; rename it", file=sys.stderr)
    try:
        app()
    except EventsError as error:
        sys.exit(f"events: {redact(str(error))}")
    except DBAPIError as error:
        sys.exit(f"events: {redact(refusal(error))}")
    except KeyboardInterrupt:
        sys.exit(130)
