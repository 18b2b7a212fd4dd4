"""`events migrate` and `events status`."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated

import typer

from events.cli.handlers import as_dict, orphaned
from events.cli.output import AsJson, complain, console, print_json, print_table, refused, say
from events.errors import ConfigurationError
from events.handling import load_handlers
from events.ledger import Overview, State
from events.pipeline import Pipeline, get_pipeline
from events.store import migration_sql, pending
from events.text import redact


def migrate(
    leave_existing: Annotated[
        bool, typer.Option("--leave-existing", help="Never handle what an event_store of others has unprocessed.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: exit code 1, and their names, if migrations are pending.")
    ] = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Change nothing: print the SQL that brings the database up to date.")
    ] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="With --sql: for an empty database, and ask none.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create or update the tables in EVENTS_DATABASE_URL; safe to run twice, and by two machines at once.

    An event_store that another program has made is adopted, with its rows: what is processed is history, and what is
    not is handled, unless --leave-existing is said (docs/migrating.md).

    The application's own tables (functions marked @on_migrate in EVENTS_HANDLERS) are made too. --check and --sql leave
    them out, and change nothing (docs/alembic.md).

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
        complain(f"{error} (the ledger is migrated all the same)")
    applied = pipeline.migrate(leave_existing=leave_existing)
    database = redact(pipeline.settings.database_url)
    if as_json:
        print_json({"database": database, "applied": applied})
    else:
        say(f"{database}: " + (f"applied {', '.join(applied)}" if applied else "up to date"))


def _wrong_together(check: bool, sql: bool, from_scratch: bool, leave_existing: bool, as_json: bool) -> str:
    """What is wrong with these options, if anything."""
    if from_scratch and not sql:
        return "--from-scratch goes with --sql"
    if check and sql:
        return "use one of --check and --sql"
    if sql and as_json:
        return "what --sql prints is SQL; leave out --json"
    if leave_existing and (check or sql):
        return "--leave-existing is for migrating itself; leave out --check and --sql"
    return ""


def _check(pipeline: Pipeline, *, as_json: bool) -> None:
    todo, database = pending(pipeline.ledger.engine), redact(pipeline.settings.database_url)
    if as_json:
        print_json({"database": database, "pending": todo})
    elif todo:
        say(f"{database}: {', '.join(todo)} pending; run `events migrate`")
    else:
        say(f"{database}: up to date")
    if todo:
        raise typer.Exit(1)


def status(as_json: AsJson = False) -> None:
    """The whole ledger in numbers: backlog, oldest age, rates, workers, errors by event type, deliveries by handler.

    With millions of rows it takes some seconds to count what is finished.

    Example: events status --json
    """
    pipeline = get_pipeline()
    pipeline.check()
    with console.status("counting") if console.is_terminal and not as_json else nullcontext():
        found = pipeline.ledger.overviews.take()
    settings = pipeline.settings
    where = {"database": redact(settings.database_url), "broker": redact(settings.broker_url) or "none"}
    if as_json:
        print_json(where | _as_dict(found) | {"marked_by_others": asdict(found.marked)})
        return
    say(f"database {where['database']}, broker {where['broker']}")
    say(
        f"{found.events:,} events, {found.waiting_events:,} of them not yet fanned out; "
        f"{found.deliveries(State.PENDING):,} deliveries wait, {found.deliveries(State.SENT, State.RUNNING):,} are on "
        f"the way, {found.deliveries(State.DEAD):,} are dead"
    )
    say(
        f"a second: {found.published_a_second:,.1f} published, {found.a_second('succeeded'):,.1f} succeeded, "
        f"{found.a_second('retried'):,.1f} to be retried, {found.a_second('dead'):,.1f} dead"
    )
    if found.unhandled_types:
        waiting = {one.event_type: one.waiting for one in found.event_types}
        named = ", ".join(f"{name} {waiting.get(name, 0):,}" for name in found.unhandled_types)
        say(f"waiting for a handler (events unhandled list): {named}")
    if told := found.marked.told():
        say(f"{told} (docs/migrating.md)")
    if found.lag:
        say(f"the oldest event has waited {found.lag:,.1f} s to be fanned out")
    if found.oldest:
        say(f"the oldest due delivery has waited {found.oldest:,.1f} s")
    if found.parked:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.parked.items())
        say(f"parked messages (events parked list): {reasons}")
    for worker in found.workers:
        say(f"worker {worker.name}: {worker.pool} x {worker.concurrency}, {', '.join(worker.queues)}")
    if not found.workers:
        say("no worker lives")
    for line in (line for one in found.handlers for line in orphaned(one)):
        say(line)
    for queue in found.unread:
        say(f"no living worker reads queue {queue}: celery -A events worker -Q {queue}")
    say("")
    types = [[one.event_type, one.count, one.lately, one.error_count, one.dead] for one in found.event_types]
    columns = ["event", "stored", "last minute", "errors", "dead"]
    print_table("Events", columns, types, right=columns[1:])
    say("")
    rows = [
        [one.handler, (one.queue or "(gone)") + (", paused" if one.paused else "")]
        + [one.deliveries.get(state, 0) for state in State]
        + [one.error_count]
        for one in found.handlers
    ]
    numbers = [state.value for state in State] + ["errors"]
    print_table("Deliveries", ["handler", "queue", *numbers], rows, right=numbers)


def _as_dict(found: Overview) -> dict[str, object]:
    return {
        "taken_at": found.taken_at,
        "events": found.events,
        "waiting_events": {one.event_type: one.waiting for one in found.event_types if one.waiting},
        "unhandled_types": found.unhandled_types,
        "oldest_due_seconds": found.oldest,
        "lag_seconds": found.lag,
        "rates": {
            "published": round(found.published_a_second, 3),
            **{outcome: round(found.a_second(outcome), 3) for outcome in ("succeeded", "retried", "dead")},
        },
        "event_types": {
            one.event_type: {"count": one.count, "errors": one.error_count, "waiting": one.waiting,
                             "last_minute": one.lately, "dead": one.dead}
            for one in found.event_types
        },
        "handlers": {one.handler: as_dict(one) for one in found.handlers},
        "parked": found.parked,
        "unread_queues": list(found.unread),
        "workers": [
            {"name": one.name, "pool": one.pool, "concurrency": one.concurrency, "queues": one.queues,
             "version": one.version, "seen_at": one.seen_at}
            for one in found.workers
        ],
    }  # fmt: skip
