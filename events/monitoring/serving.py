"""The pages that a process serves on EVENTS_HTTP_PORT: /metrics, /healthz and /readyz."""

import json
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from sqlalchemy import text

from events.monitoring.cached import Cached
from events.monitoring.health import Condition, Health, Probe, Verdict
from events.monitoring.http import Page, Server
from events.monitoring.prometheus import EventsCollector
from events.monitoring.relay_counts import RelayCounts
from events.monitoring.worker_counts import WorkerCounts
from events.pipeline import Pipeline
from events.relay import Relay
from events.transport import open_transport
from events.watchdog import Signs


def server_of(
    pipeline: Pipeline,
    signs: Signs,
    conditions: Mapping[str, Condition],
    stopping: Callable[[], bool],
    *,
    relay: Relay | None,
    relay_counts: RelayCounts,
    worker_counts: WorkerCounts | None = None,
) -> Server:
    """The server of a worker or a relay; see `make_server`.

    Args:
        signs, conditions, stopping: see Health. The database has to answer, too, and the relay to run.
        relay: this process's; None if others relay. A process that relays reports the numbers of the ledger, too.
        relay_counts, worker_counts: the counts of this process.
    Raises:
        ConfigurationError: the port of EVENTS_HTTP_PORT is taken.
    """
    needed: dict[str, Condition] = {**conditions, "database": database_probe(pipeline)}
    ledger = None
    if relay is not None:
        needed["relay"] = lambda: "" if relay.relays else "the relay doesn't run"
        ledger = Cached(pipeline.ledger.overviews.unfinished)
    health = Health(signs, pipeline.settings.watchdog, needed, stopping)
    return make_server(pipeline.settings.http_port, EventsCollector(worker_counts, relay_counts, ledger), health)


def make_server(port: int, collector: EventsCollector, health: Health) -> Server:
    """A server that listens, and answers after `start()`. Raises ConfigurationError if the port is taken."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)

    def metrics(accept: str) -> Page:
        encode, content_type = choose_encoder(accept)
        return Page(encode(registry), content_type)

    return Server(port, {"/metrics": metrics, "/healthz": _page(health.alive), "/readyz": _page(health.ready)})


def database_probe(pipeline: Pipeline) -> Probe:
    """Does the database answer?"""

    def ask() -> None:
        with pipeline.ledger.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    return Probe("database", ask)


def broker_probe(pipeline: Pipeline) -> Probe:
    """Does the broker answer? The probe has a connection of its own: the relay's belongs to the relay's thread."""
    transport = open_transport(pipeline.settings)

    def ask() -> None:
        transport.waiting(pipeline.settings.queue)

    return Probe("broker", ask)


def _page(judge: Callable[[], Verdict]) -> Callable[[str], Page]:
    def page(_: str) -> Page:
        status, body = judge()
        return Page(json.dumps(body).encode() + b"\n", "application/json", status)

    return page
