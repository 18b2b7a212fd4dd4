"""What is counted, in Prometheus' words. METRICS is the one list of it: README.md, the dashboard and the alert rules
are held to it by tests.

Counters and histograms come from the process in which it happens; gauges of the ledger from whoever has a ledger, and
all who have the same one say the same.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from events.ledger import Overview, State
from events.monitoring.cached import Kept
from events.monitoring.relay_counts import Moved
from events.monitoring.worker_counts import BOUNDS, Histogram, Tally

Kind = Literal["counter", "histogram", "gauge"]
Source = Literal["worker", "relay", "ledger"]
Family = CounterMetricFamily | HistogramMetricFamily | GaugeMetricFamily
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `source`: who counts it; a worker that relays is a relay, too."""

    name: str
    kind: Kind
    source: Source
    labels: Labels
    help: str


_PAIR = ("event_type", "handler")
METRICS = (
    Metric("events_published_total", "counter", "relay", ("event_type",), "Events that became deliveries."),
    Metric("events_fanned_out_total", "counter", "relay", _PAIR, "Deliveries that they became."),
    Metric("events_sent_total", "counter", "relay", _PAIR, "Deliveries given to the broker, or to this worker itself; "
           "again with each retry."),
    Metric("events_expired_total", "counter", "relay", (), "Deliveries whose worker died or fell silent; each is given "
           "out again, or is a dead letter."),
    Metric("events_succeeded_total", "counter", "worker", _PAIR, "Deliveries whose handler and outcome are committed."),
    Metric("events_retried_total", "counter", "worker", _PAIR, "Attempts that failed and will be repeated."),
    Metric("events_dead_total", "counter", "worker", _PAIR, "Deliveries that became dead letters here."),
    Metric("events_handed_back_total", "counter", "worker", _PAIR, "Deliveries claimed and given back, the attempt "
           "not counted: for another worker, or out of a group that failed as a whole."),
    Metric("events_parked_total", "counter", "worker", ("reason",), "Messages put aside because they can't be run."),
    Metric("events_commit_to_start_seconds", "histogram", "worker", _PAIR, "From the event's commit to its delivery's "
           "first attempt."),
    Metric("events_commit_to_done_seconds", "histogram", "worker", _PAIR, "From the event's commit to the commit of "
           "what its handler did."),
    Metric("events_handler_seconds", "histogram", "worker", _PAIR, "In the handler, of each attempt."),
    Metric("events_backlog", "gauge", "ledger", ("handler",), "Deliveries that wait to be sent, retries among them."),
    Metric("events_in_flight", "gauge", "ledger", ("handler",), "Deliveries that are sent or running."),
    Metric("events_oldest_pending_age_seconds", "gauge", "ledger", ("queue",), "For how long the delivery that waits "
           "longest to be sent has been due."),
    Metric("events_outbox_lag_seconds", "gauge", "ledger", (), "For how long the first event in line waits to become "
           "deliveries."),
    Metric("events_dead_letters", "gauge", "ledger", ("handler",), "Dead letters that nobody replayed or discarded."),
    Metric("events_paused", "gauge", "ledger", ("handler",), "Deliveries held back because an operator paused their "
           "handler."),
    Metric("events_parked_messages", "gauge", "ledger", ("reason",), "Parked messages that nobody replayed or "
           "discarded."),
)  # fmt: skip

_FAMILIES: Mapping[Kind, type[Family]] = {
    "counter": CounterMetricFamily,
    "histogram": HistogramMetricFamily,
    "gauge": GaugeMetricFamily,
}


class EventsCollector(Collector):
    """For a registry of prometheus_client. `collect` only looks: it never asks the ledger, and never waits.

    Args:
        tally: of this worker.
        moved: by the relay of this process.
        ledger: what stands in it.
    """

    def __init__(
        self, tally: Tally | None = None, moved: Moved | None = None, ledger: Kept[Overview] | None = None
    ) -> None:
        self._tally, self._moved, self._ledger = tally, moved, ledger

    def describe(self) -> Iterable[Family]:
        """All that there may be, so that a registry need not collect to know the names."""
        return [_family(metric) for metric in METRICS]

    def collect(self) -> Iterator[Family]:
        if self._moved is not None:
            yield from _families("relay", _of_relay(self._moved))
        if self._tally is not None:
            yield from _families("worker", _of_worker(self._tally))
        standing = self._ledger.latest() if self._ledger is not None else None
        if standing is not None:
            yield from _families("ledger", _of_ledger(standing))


_Numbers = Mapping[Any, float | Histogram]  # by the values of the labels, as a tuple


def _of_relay(moved: Moved) -> dict[str, _Numbers]:
    return {
        "events_published_total": _by_name(moved.published),
        "events_fanned_out_total": moved.made,
        "events_sent_total": moved.given_away,
        "events_expired_total": {(): moved.lost_workers},
    }


def _of_worker(tally: Tally) -> dict[str, _Numbers]:
    all_done = {(done.event_type, done.handler): done for done in tally.done()}
    return {
        "events_succeeded_total": {pair: done.succeeded for pair, done in all_done.items()},
        "events_retried_total": {pair: done.retried for pair, done in all_done.items()},
        "events_dead_total": {pair: done.dead for pair, done in all_done.items()},
        "events_handed_back_total": {pair: done.handed_back for pair, done in all_done.items()},
        "events_parked_total": _by_name(tally.parked_messages()),
        # Of each there are twenty lines, so only those that say something.
        "events_commit_to_start_seconds": {
            p: d.commit_to_start for p, d in all_done.items() if d.commit_to_start.count
        },
        "events_commit_to_done_seconds": {p: d.commit_to_done for p, d in all_done.items() if d.commit_to_done.count},
        "events_handler_seconds": {p: d.in_handler for p, d in all_done.items() if d.in_handler.count},
    }


def _of_ledger(found: Overview) -> dict[str, _Numbers]:
    def by_handler(*states: State) -> _Numbers:
        return {(one.handler,): sum(one.deliveries.get(state, 0) for state in states) for one in found.handlers}

    return {
        "events_backlog": by_handler(State.PENDING),
        "events_in_flight": by_handler(State.SENT, State.RUNNING),
        "events_oldest_pending_age_seconds": _by_name(found.oldest_due),
        "events_outbox_lag_seconds": {(): found.lag},
        "events_dead_letters": by_handler(State.DEAD),
        "events_paused": by_handler(State.PAUSED),
        "events_parked_messages": _by_name(found.parked),
    }


def _by_name(numbers: Mapping[str, float]) -> _Numbers:
    return {(name,): number for name, number in numbers.items()}


def _families(source: Source, numbers: Mapping[str, _Numbers]) -> Iterator[Family]:
    for metric in METRICS:
        if metric.source == source:
            family = _family(metric)
            for values, number in sorted(numbers[metric.name].items(), key=lambda one: one[0]):
                if isinstance(family, HistogramMetricFamily):
                    assert isinstance(number, Histogram)
                    family.add_metric(values, buckets=_buckets(number), sum_value=number.total)
                else:
                    assert not isinstance(number, Histogram)
                    family.add_metric(values, number)
            yield family


def _family(metric: Metric) -> Family:
    return _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Prometheus' buckets hold what is in those below them, too."""
    found, below = [], 0.0
    for bound, count in zip((*BOUNDS, math.inf), histogram.counts, strict=True):
        below += count
        found.append((_shown(bound), below))
    return found


def _shown(bound: float) -> str:
    return "+Inf" if bound == math.inf else str(bound)
