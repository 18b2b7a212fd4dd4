"""Publishes events: writes them as rows in the caller's transaction.

May import: tracing, ledger and the words below; never a broker. Open first: `verbs`, then `publisher`.
"""

from events.publishing.current import begun, choice_of, given, transacting, transaction, watch
from events.publishing.joining import Running, RunningInThread, RunningOnLoop, RunningWithoutSql, running
from events.publishing.publisher import Publisher
from events.publishing.sessions import connection_of
from events.publishing.surroundings import Surroundings
from events.publishing.verbs import provide, publish, publish_async

__all__ = [
    "Publisher",
    "Running",
    "RunningInThread",
    "RunningOnLoop",
    "RunningWithoutSql",
    "Surroundings",
    "begun",
    "choice_of",
    "connection_of",
    "given",
    "provide",
    "publish",
    "publish_async",
    "running",
    "transacting",
    "transaction",
    "watch",
]
