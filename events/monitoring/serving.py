"""What a process serves on EVENTS_HTTP_PORT."""

import json
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from sqlalchemy import text

from events.monitoring.cached import Kept
from events.monitoring.health import Condition, Health, Probe, Verdict
from events.monitoring.http import Page, Server
from events.monitoring.prometheus import EventsCollector
from events.monitoring.relay_counts import Moved
from events.monitoring.worker_counts import Tally
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
    moved: Moved,
    tally: Tally | None = None,
) -> Server:
    """The server of a worker or a relay; see `make_server`.

    Args:
        signs, conditions, stopping: see Health. The database has to answer, too, and the relay to run.
        relay: of this process; None if others relay. Who relays tells of the ledger.
        moved: what the relay has moved.
        tally: what the worker has done.
    Raises:
        ConfigurationError: the port of EVENTS_HTTP_PORT is taken.
    """
    needed: dict[str, Condition] = {**conditions, "database": database_probe(pipeline)}
    ledger = None
    if relay is not None:
        needed["relay"] = lambda: "" if relay.relays else "it doesn't run"
        ledger = Kept(pipeline.ledger.overviews.unfinished)
    health = Health(signs, pipeline.settings.watchdog, needed, stopping)
    return make_server(pipeline.settings.http_port, EventsCollector(tally, moved, ledger), health)


def make_server(port: int, collector: EventsCollector, health: Health) -> Server:
    """It listens, and answers when it is started. Raises ConfigurationError if the port is taken."""
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
    """Does the broker answer? On a connection of its own: the relay's is of its thread alone."""
    transport = open_transport(pipeline.settings)

    def ask() -> None:
        transport.waiting(pipeline.settings.queue)

    return Probe("broker", ask)


def _page(judge: Callable[[], Verdict]) -> Callable[[str], Page]:
    def page(_: str) -> Page:
        status, said = judge()
        return Page(json.dumps(said).encode() + b"\n", "application/json", status)

    return page
