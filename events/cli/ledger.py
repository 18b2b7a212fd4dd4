"""`events migrate` and `events status`."""

import typer

from events.cli.output import AsJson, console, print_json, print_table
from events.errors import ConfigurationError
from events.pipeline import get_pipeline
from events.registry import load_handlers
from events.settings import redact
from events.store.overview import overview

_STATES = ("pending", "sent", "running", "succeeded", "dead", "discarded")


def migrate(as_json: AsJson = False) -> None:
    """Create or update the tables in EVENTS_DATABASE_URL; safe to run twice, and by two machines at once.

    The application's own tables (functions marked @on_migrate in EVENTS_HANDLERS) are made too.

    Example: EVENTS_DATABASE_URL=postgresql://localhost/shop events migrate
    """
    pipeline = get_pipeline()
    try:
        load_handlers(pipeline.settings.handlers)
    except ConfigurationError as error:  # the ledger needs no handlers: a web-only machine can migrate it
        typer.echo(f"events: {error} (the ledger is migrated all the same)", err=True)
    applied = pipeline.migrate()
    database = redact(pipeline.settings.database_url)
    if as_json:
        print_json({"database": database, "applied": applied})
    else:
        console.print(f"{database}: " + (f"applied {', '.join(applied)}" if applied else "up to date"), soft_wrap=True)


def status(as_json: AsJson = False) -> None:
    """Events, deliveries by handler and state, and what waits.

    Example: events status --json
    """
    pipeline = get_pipeline()
    pipeline.check()
    counts = overview(pipeline.ledger.engine)
    settings = pipeline.settings
    where = {"database": redact(settings.database_url), "broker": redact(settings.broker_url) or "none"}
    if as_json:
        print_json(where | counts.as_json())
        return
    console.print(f"database {where['database']}, broker {where['broker']}", soft_wrap=True, highlight=False)
    waiting = sum(counts.waiting_events.values())
    console.print(f"{counts.events:,} events, {waiting:,} of them not yet fanned out", highlight=False)
    if counts.unhandled_types:
        console.print(f"waiting for a handler: {', '.join(counts.unhandled_types)}", highlight=False)
    if counts.oldest_due_seconds is not None:
        console.print(f"the oldest due delivery has waited {counts.oldest_due_seconds:.1f} s", highlight=False)
    if counts.parked:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.parked.items())
        console.print(f"parked messages (events parked list): {reasons}", highlight=False)
    for worker in counts.workers:
        queues = ", ".join(worker["queues"])
        console.print(f"worker {worker['name']}: {worker['pool']} x {worker['concurrency']}, {queues}", highlight=False)
    if not counts.workers:
        console.print("no worker lives", highlight=False)
    names = sorted(set(counts.handlers) | set(counts.deliveries))
    rows = [
        [name, counts.handlers.get(name, {}).get("queue", "(gone)")]
        + [f"{counts.deliveries.get(name, {}).get(state, 0):,}" for state in _STATES]
        for name in names
    ]
    print_table("Deliveries", ["handler", "queue", *_STATES], rows, right=_STATES)
