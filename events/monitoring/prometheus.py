"""The metrics in Prometheus' words. METRICS is the one list of them: docs/metrics.md, the dashboard and the alert
rules are held to it by tests.

Counters and histograms come from the process that counts. Gauges come from every process that reads the ledger, and
all processes of one ledger report the same values.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from events.ledger import Overview, State
from events.monitoring.cached import Cached
from events.monitoring.metrics import METRICS, Kind, Metric, Source
from events.monitoring.relay_counts import RelayCounts
from events.monitoring.worker_counts import BOUNDS, Histogram, WorkerCounts

Family = CounterMetricFamily | HistogramMetricFamily | GaugeMetricFamily
_FAMILIES: Mapping[Kind, type[Family]] = {
    "counter": CounterMetricFamily,
    "histogram": HistogramMetricFamily,
    "gauge": GaugeMetricFamily,
}


class EventsCollector(Collector):
    """For a registry of prometheus_client. `collect` never asks the ledger, and never waits.

    Args:
        worker_counts: the counts of this worker; None if the process is no worker.
        relay_counts: the counts of this process's relay; None if the process doesn't relay.
        ledger: the numbers of the ledger; None if another process reports them.
    """

    def __init__(
        self,
        worker_counts: WorkerCounts | None = None,
        relay_counts: RelayCounts | None = None,
        ledger: Cached[Overview] | None = None,
    ) -> None:
        self._worker_counts, self._relay_counts, self._ledger = worker_counts, relay_counts, ledger

    def describe(self) -> Iterable[Family]:
        """All families, so that a registry need not collect to know their names."""
        return [_family(metric) for metric in METRICS]

    def collect(self) -> Iterator[Family]:
        if self._relay_counts is not None:
            yield from _families("relay", _of_relay(self._relay_counts))
        if self._worker_counts is not None:
            yield from _families("worker", _of_worker(self._worker_counts))
        overview = self._ledger.latest() if self._ledger is not None else None
        if overview is not None:
            yield from _families("ledger", _of_ledger(overview))


_Numbers = Mapping[Any, float | Histogram]  # by the values of the labels, as a tuple


def _of_relay(relay_counts: RelayCounts) -> dict[str, _Numbers]:
    return {
        "events_published_total": _by_name(relay_counts.published),
        "events_fanned_out_total": relay_counts.made,
        "events_sent_total": relay_counts.given_away,
        "events_expired_total": {(): relay_counts.lost_workers},
    }


def _of_worker(worker_counts: WorkerCounts) -> dict[str, _Numbers]:
    all_done = {(done.event_type, done.handler): done for done in worker_counts.done()}
    return {
        "events_succeeded_total": {pair: done.succeeded for pair, done in all_done.items()},
        "events_retried_total": {pair: done.retried for pair, done in all_done.items()},
        "events_dead_total": {pair: done.dead for pair, done in all_done.items()},
        "events_handed_back_total": {pair: done.handed_back for pair, done in all_done.items()},
        "events_parked_total": _by_name(worker_counts.parked_messages()),
        # A histogram has twenty lines, so empty histograms are left out.
        "events_commit_to_start_seconds": _filled({pair: done.commit_to_start for pair, done in all_done.items()}),
        "events_commit_to_done_seconds": _filled({pair: done.commit_to_done for pair, done in all_done.items()}),
        "events_handler_seconds": _filled({pair: done.in_handler for pair, done in all_done.items()}),
    }


def _filled(histograms: Mapping[Any, Histogram]) -> _Numbers:
    return {pair: histogram for pair, histogram in histograms.items() if histogram.count}


def _of_ledger(overview: Overview) -> dict[str, _Numbers]:
    def by_handler(*states: State) -> _Numbers:
        return {
            (handler.handler,): sum(handler.deliveries.get(state, 0) for state in states)
            for handler in overview.handlers
        }

    return {
        "events_backlog": by_handler(State.PENDING),
        "events_in_flight": by_handler(State.SENT, State.RUNNING),
        "events_oldest_pending_age_seconds": _by_name(overview.oldest_due),
        "events_outbox_lag_seconds": {(): overview.lag},
        "events_dead_letters": by_handler(State.DEAD),
        "events_paused": by_handler(State.PAUSED),
        "events_parked_messages": _by_name(overview.parked),
    }


def _by_name(numbers: Mapping[str, float]) -> _Numbers:
    return {(name,): number for name, number in numbers.items()}


def _families(source: Source, numbers: Mapping[str, _Numbers]) -> Iterator[Family]:
    for metric in METRICS:
        if metric.source == source:
            family = _family(metric)
            for values, number in sorted(numbers[metric.name].items(), key=lambda item: item[0]):
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
    """The buckets of Prometheus: each counts the values of all lower buckets, too."""
    buckets, below = [], 0.0
    for bound, count in zip((*BOUNDS, math.inf), histogram.counts, strict=True):
        below += count
        buckets.append((_shown(bound), below))
    return buckets


def _shown(bound: float) -> str:
    return "+Inf" if bound == math.inf else str(bound)
