"""`events show` and `events find`: events, and their deliveries."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from events.cli import completion, filters
from events.cli.output import (
    AsJson,
    heading,
    hint,
    print_fields,
    print_json,
    print_table,
    refused,
    remark,
    say,
    say_lines,
    shown_time,
)
from events.current_pipeline import get_pipeline
from events.errors import NoSuchEvent
from events.ledger import EventFilter, EventRecord, Found, as_uuid, timeline
from events.text import plural


def show(
    event_id: Annotated[
        str,
        typer.Argument(
            metavar="EVENT_ID",
            help="The id of the event, or the first characters of the id if no other id begins so; or the id that its "
            "sender gave to the event.",
            autocompletion=completion.events,
        ),
    ],
    tracebacks: Annotated[
        bool, typer.Option("--tracebacks", help="Print the traceback of every failed attempt.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one event: its data, the state of each delivery, and a timeline of what happened and who did it.

    If several senders used the same id, the command lists the events of all of them.

    Example: events show 01931c9e-0000-7000-8000-000000000000
    """
    history = get_pipeline().history
    try:
        events = history.called(event_id)
    except NoSuchEvent:
        if as_uuid(event_id) is None:
            raise refused(f"{event_id!r} is not a valid UUID, and no sender gave this id to an event") from None
        raise
    if len(events) > 1:
        _list(events, as_json)
        return
    event = history.event(events[0].event_id)
    if as_json:
        parsed = {"data": _parsed(event.data), "metadata": _parsed(event.metadata)}
        attempts = [asdict(attempt) | {"run": attempt.attempt} for attempt in event.attempts]  # `run`: its older name
        times = [asdict(entry) for entry in timeline(event)]
        print_json(asdict(event) | parsed | {"attempts": attempts, "timeline": times})
        return
    _print(event)
    if any(other.event_id != event.event_id for other in history.find(EventFilter(sender_id=event_id))):
        remark(f"senders gave this id to other events, too: events find --sender-id {event_id}")
    if tracebacks:
        for attempt in event.attempts:
            heading(f"{attempt.handler}, attempt {attempt.attempt}")
            say_lines(attempt.traceback or attempt.error)


def find(
    event: filters.EventType = None,
    aggregate: filters.Aggregate = None,
    correlation: filters.Correlation = None,
    sender_id: filters.SenderId = None,
    since: filters.Since = None,
    before: filters.Before = None,
    limit: filters.Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List events, newest first: by type, aggregate, correlation, the id at the sender, and time of publishing.

    Example: events find --aggregate order-17 --since 7d
    """
    wanted = EventFilter(
        event_type=event,
        aggregate_id=aggregate,
        since=since,
        before=before,
        limit=limit,
        correlation_id=correlation,
        sender_id=sender_id,
    )
    _list(get_pipeline().history.find(wanted), as_json)


def _list(events: Sequence[Found], as_json: bool) -> None:
    if as_json:
        print_json([asdict(event) for event in events])
        return
    if not events:
        remark("no event matches")
    rows = [[event.event_id, event.event_type, event.aggregate_id, shown_time(event.published_at)] for event in events]
    print_table(plural(len(events), "event"), ["event id", "event", "aggregate", "published (UTC)"], rows)
    if events:
        hint("next: events show EVENT_ID")


def _print(event: EventRecord) -> None:
    heading(f"{event.event_type} {event.event_id}")
    print_fields(
        (
            ("aggregate", event.aggregate_id),
            ("version", event.version),
            ("occurred", shown_time(event.occurred_at)),
            ("data", event.data),
            ("metadata", event.metadata),
        ),
        whole=("data", "metadata"),
    )
    say("")
    deliveries = [
        [delivery.handler, delivery.queue, delivery.state, delivery.counted, delivery.replays]
        for delivery in event.deliveries
    ]
    columns = ["handler", "queue", "state", "attempts", "replays"]
    print_table("Deliveries", columns, deliveries, right=["attempts", "replays"])
    if event.fan_out:
        remark(event.fan_out)
    happened = [
        [entry.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], entry.what, entry.handler, entry.who, entry.detail]
        for entry in timeline(event)
    ]
    say("")
    print_table("Timeline", ["when (UTC)", "what", "handler", "who", "detail"], happened, texts=["detail"])


def _parsed(text: str) -> object:
    """The JSON value; the text itself if another program wrote text that is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text
