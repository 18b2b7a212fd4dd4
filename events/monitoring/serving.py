"""The pages that a process serves on EVENTS_HTTP_PORT: /metrics, /healthz and /readyz."""

import json
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from sqlalchemy import text

from events.monitoring.health import Health, Probe, Verdict
from events.monitoring.http import Page, Server
from events.monitoring.prometheus import EventsCollector
from events.pipeline import Pipeline
from events.transport import open_transport


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
