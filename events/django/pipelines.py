"""Makes the pipeline of a process that has Django."""

from events.django.addresses import IN_MEMORY
from events.django.configuration import ledger_alias
from events.django.home import home_engine
from events.django.lending import lend_connections_of
from events.django.surroundings import DjangoTransactions
from events.errors import ConfigurationError
from events.pipeline import Pipeline
from events.settings import Settings
from events.store import open_ledger


def make(settings: Settings, serves: bool) -> Pipeline:
    """The pipeline. For the arguments see events.current_pipeline.make_pipelines_by.

    Raises:
        ConfigurationError: a worker or command can't reach the database, which is in the memory of another process.
    """
    alias = ledger_alias()
    home = home_engine(alias, settings)
    surroundings = DjangoTransactions(alias, home)
    if not serves:
        return Pipeline(settings, ledger=open_ledger(settings, home), surroundings=surroundings)
    if settings.database_url == IN_MEMORY:
        raise ConfigurationError(
            f"DATABASES[{alias!r}] is in memory, which no other process can see: workers and commands need a file, or "
            f"PostgreSQL"
        )
    pipeline = Pipeline(settings, surroundings=surroundings)
    lend_connections_of(pipeline.ledger.engine, alias)
    return pipeline
