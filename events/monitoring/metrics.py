"""The list of all metrics. The documentation, the dashboard and the alert rules are held to this list by tests."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "histogram", "gauge"]
Source = Literal["worker", "relay", "ledger"]
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `source`: the process that counts it, or the ledger; a worker that relays is a relay, too."""

    name: str
    kind: Kind
    source: Source
    labels: Labels
    help: str


_PAIR = ("event_type", "handler")
METRICS = (
    Metric("events_published_total", "counter", "relay", ("event_type",), "Events that became deliveries."),
    Metric("events_fanned_out_total", "counter", "relay", _PAIR, "Deliveries that were made of events."),
    Metric(
        "events_sent_total",
        "counter",
        "relay",
        _PAIR,
        "Deliveries given to the broker, or to this worker itself; again with each retry.",
    ),
    Metric(
        "events_expired_total",
        "counter",
        "relay",
        (),
        "Deliveries whose worker died or fell silent; each is sent again, or is a dead letter.",
    ),
    Metric("events_succeeded_total", "counter", "worker", _PAIR, "Deliveries whose handler and outcome are committed."),
    Metric("events_retried_total", "counter", "worker", _PAIR, "Attempts that failed and will be repeated."),
    Metric("events_dead_total", "counter", "worker", _PAIR, "Deliveries that became dead letters here."),
    Metric(
        "events_handed_back_total",
        "counter",
        "worker",
        _PAIR,
        "Deliveries claimed and given back, the attempt not counted: for another worker, or because a group "
        "failed as a whole.",
    ),
    Metric(
        "events_parked_total",
        "counter",
        "worker",
        ("reason",),
        "Messages that the worker parked, because they can't be run.",
    ),
    Metric(
        "events_commit_to_start_seconds",
        "histogram",
        "worker",
        _PAIR,
        "Time from the event's commit to its delivery's first attempt.",
    ),
    Metric(
        "events_commit_to_done_seconds",
        "histogram",
        "worker",
        _PAIR,
        "Time from the event's commit to the commit of its handler's effects.",
    ),
    Metric("events_handler_seconds", "histogram", "worker", _PAIR, "How long each attempt was in its handler."),
    Metric(
        "events_backlog",
        "gauge",
        "ledger",
        ("handler",),
        "Deliveries that wait to be sent or to be made of their events, retries among them.",
    ),
    Metric("events_in_flight", "gauge", "ledger", ("handler",), "Deliveries that are sent or running."),
    Metric(
        "events_oldest_pending_age_seconds",
        "gauge",
        "ledger",
        ("queue",),
        "For how long the delivery that waits longest to be sent, or to be made of its event, has been due.",
    ),
    Metric(
        "events_outbox_lag_seconds",
        "gauge",
        "ledger",
        (),
        "For how long the first event in line waits to become deliveries though their queue has room.",
    ),
    Metric(
        "events_dead_letters",
        "gauge",
        "ledger",
        ("handler",),
        "Dead letters that no operator has replayed or discarded.",
    ),
    Metric(
        "events_paused",
        "gauge",
        "ledger",
        ("handler",),
        "Deliveries held back because an operator paused their handler.",
    ),
    Metric(
        "events_parked_messages",
        "gauge",
        "ledger",
        ("reason",),
        "Parked messages that no operator has replayed or discarded.",
    ),
)
