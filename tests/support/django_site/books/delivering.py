"""Deliveries as a worker runs them, on connections of the worker's own, in this process."""

from collections.abc import Iterator
from contextlib import contextmanager

from events.current_pipeline import use_pipeline
from events.django.configuration import ledger_alias
from events.django.home import home_engine
from events.django.lending import lend_connections_of
from events.django.surroundings import DjangoTransactions
from events.handling import load_handlers
from events.settings import load_settings
from events.testing import InlinePipeline


@contextmanager
def worker() -> Iterator[InlinePipeline]:
    """The pipeline of a worker, while the block runs; `run()` runs what is due."""
    settings = load_settings()
    load_handlers(settings.handlers)
    pipeline = InlinePipeline(settings)
    alias = ledger_alias()
    lend_connections_of(pipeline.ledger.engine, alias)
    pipeline.publisher.surroundings = DjangoTransactions(alias, home_engine(alias, settings))
    use_pipeline(pipeline)
    try:
        yield pipeline
    finally:
        use_pipeline(None)
        pipeline.close()
