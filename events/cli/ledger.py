"""`events migrate` and `events status`."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated

import typer

from events.cli.handlers import as_dict, orphaned
from events.cli.output import AsJson, complain, console, print_json, print_table, refused, say
from events.current_pipeline import get_pipeline
from events.errors import ConfigurationError
from events.handling import load_handlers
from events.ledger import EventMetrics, Overview, State, WorkerInfo
from events.pipeline import Pipeline
from events.store import migration_sql, pending
from events.text import deliveries_wait, plural, redact


def migrate(
    leave_existing: Annotated[
        bool,
        typer.Option(
            "--leave-existing", help="Never handle the events that another program left unprocessed in its event_store."
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Change nothing; print pending migrations. Exit code 1 if there are any."),
    ] = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Change nothing; print the SQL that brings the database up to date.")
    ] = False,
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="With --sql: print the SQL for an empty database, and connect to none."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create or update the tables in EVENTS_DATABASE_URL. You can run it twice, and on two machines at once.

    The command adopts an event_store that another program made, with its rows: processed events are history, and
    handlers get the unprocessed events, unless you say --leave-existing (docs/migrating.md).

    It also makes the application's own tables, by the functions marked @on_migrate in EVENTS_HANDLERS. --check and
    --sql leave these tables out (docs/alembic.md).

    Example: EVENTS_DATABASE_URL=postgresql://localhost/shop events migrate

    Example: events migrate --sql | psql -v ON_ERROR_STOP=1 shop
    """
    if wrong := _wrong_together(check, sql, from_scratch, leave_existing, as_json):
        raise refused(wrong)
    pipeline = get_pipeline()
    if sql:
        typer.echo(migration_sql(pipeline.ledger.engine, from_scratch=from_scratch), nl=False)
        return
    if check:
        _check(pipeline, as_json=as_json)
        return
    try:
        load_handlers(pipeline.settings.handlers)
    except ConfigurationError as error:  # the ledger needs no handlers: a web-only machine can migrate it
        complain(f"{error} (events migrates the ledger all the same)")
    applied = pipeline.migrate(leave_existing=leave_existing)
    database = redact(pipeline.settings.database_url)
    if as_json:
        print_json({"database": database, "applied": applied})
    else:
        say(f"{database}: " + (f"applied {', '.join(applied)}" if applied else "up to date"))


def _wrong_together(check: bool, sql: bool, from_scratch: bool, leave_existing: bool, as_json: bool) -> str:
    """Why these options contradict each other; "" if they don't."""
    if from_scratch and not sql:
        return "--from-scratch needs --sql"
    if check and sql:
        return "use either --check or --sql, not both"
    if sql and as_json:
        return "--sql prints SQL, not JSON; leave out --json"
    if leave_existing and (check or sql):
        return "--leave-existing changes what a migration does; leave out --check and --sql"
    return ""


def _check(pipeline: Pipeline, *, as_json: bool) -> None:
    missing, database = pending(pipeline.ledger.engine), redact(pipeline.settings.database_url)
    if as_json:
        print_json({"database": database, "pending": missing})
    elif missing:
        say(f"{database}: {', '.join(missing)} pending; run `events migrate`")
    else:
        say(f"{database}: up to date")
    if missing:
        raise typer.Exit(1)


def status(as_json: AsJson = False) -> None:
    """Show the ledger in numbers: backlog, oldest age, rates, workers, errors by event type, deliveries by handler.

    If the ledger holds millions of finished deliveries, counting them takes some seconds.

    Example: events status --json
    """
    pipeline = get_pipeline()
    pipeline.check()
    with console.status("counting deliveries") if console.is_terminal and not as_json else nullcontext():
        overview = pipeline.ledger.overviews.take()
    settings = pipeline.settings
    where = {"database": redact(settings.database_url), "broker": redact(settings.broker_url) or "none"}
    if as_json:
        print_json(where | _as_dict(overview) | {"marked_by_others": asdict(overview.marked)})
        return
    say(f"database {where['database']}, broker {where['broker']}")
    say(
        f"{plural(overview.events, 'event')}, {overview.waiting_events:,} of them not yet fanned out; "
        f"{deliveries_wait(overview.deliveries(State.PENDING))}, "
        f"{overview.deliveries(State.SENT, State.RUNNING):,} are on the way, "
        f"{overview.deliveries(State.DEAD):,} are dead"
    )
    say(
        f"per second: {overview.published_a_second:,.1f} published, {overview.a_second('succeeded'):,.1f} succeeded, "
        f"{overview.a_second('retried'):,.1f} to be retried, {overview.a_second('dead'):,.1f} dead"
    )
    _say_waiting(overview)
    for worker in overview.workers:
        say(f"worker {worker.name}: {worker.pool} x {worker.concurrency}, {', '.join(worker.queues)}")
    if not overview.workers:
        say("no worker is alive")
    for line in (line for handler in overview.handlers for line in orphaned(handler)):
        say(line)
    for queue in overview.unread:
        say(f"no living worker reads queue {queue}; start a worker: celery -A events worker -Q {queue}")
    _print_tables(overview)


def _say_waiting(overview: Overview) -> None:
    if overview.unhandled_types:
        waiting = {metrics.event_type: metrics.waiting for metrics in overview.event_types}
        named = ", ".join(f"{name} {waiting.get(name, 0):,}" for name in overview.unhandled_types)
        say(f"events that wait for a handler (events unhandled list): {named}")
    if told := overview.marked.told():
        say(f"{told} (docs/migrating.md)")
    if overview.lag:
        say(f"the oldest event has waited {overview.lag:,.1f} s to be fanned out")
    if overview.oldest:
        say(f"the oldest due delivery has waited {overview.oldest:,.1f} s")
    if overview.parked:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in overview.parked.items())
        say(f"parked messages (events parked list): {reasons}")


def _print_tables(overview: Overview) -> None:
    say("")
    columns = ["event", "stored", "last minute", "errors", "dead"]
    events = [
        [metrics.event_type, metrics.count, metrics.lately, metrics.error_count, metrics.dead]
        for metrics in overview.event_types
    ]
    print_table("Events", columns, events, right=columns[1:])
    say("")
    handlers = [
        [handler.handler, (handler.queue or "(gone)") + (", paused" if handler.paused else "")]
        + [handler.deliveries.get(state, 0) for state in State]
        + [handler.error_count]
        for handler in overview.handlers
    ]
    numbers = [state.value for state in State] + ["errors"]
    print_table("Deliveries", ["handler", "queue", *numbers], handlers, right=numbers)


def _as_dict(overview: Overview) -> dict[str, object]:
    waiting = {metrics.event_type: metrics.waiting for metrics in overview.event_types if metrics.waiting}
    return {
        "taken_at": overview.taken_at,
        "events": overview.events,
        "waiting_events": waiting,
        "unhandled_types": overview.unhandled_types,
        "oldest_due_seconds": overview.oldest,
        "lag_seconds": overview.lag,
        "rates": {
            "published": round(overview.published_a_second, 3),
            **{outcome: round(overview.a_second(outcome), 3) for outcome in ("succeeded", "retried", "dead")},
        },
        "event_types": {metrics.event_type: _event_type_as_dict(metrics) for metrics in overview.event_types},
        "handlers": {handler.handler: as_dict(handler) for handler in overview.handlers},
        "parked": overview.parked,
        "unread_queues": list(overview.unread),
        "workers": [_worker_as_dict(worker) for worker in overview.workers],
    }


def _event_type_as_dict(metrics: EventMetrics) -> dict[str, object]:
    return {
        "count": metrics.count,
        "errors": metrics.error_count,
        "waiting": metrics.waiting,
        "last_minute": metrics.lately,
        "dead": metrics.dead,
    }


def _worker_as_dict(worker: WorkerInfo) -> dict[str, object]:
    return {
        "name": worker.name,
        "pool": worker.pool,
        "concurrency": worker.concurrency,
        "queues": worker.queues,
        "version": worker.version,
        "seen_at": worker.seen_at,
    }
