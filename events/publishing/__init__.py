"""Publishes events: writes them as rows in the caller's transaction.

May import: tracing, ledger and the words below; never a broker. Open first: `verbs`, then `publisher`.
"""

from events.publishing.publisher import Publisher, Running, running
from events.publishing.recording import (
    Part,
    Recording,
    drop,
    give_back,
    ids_of,
    part_of,
    parts_of,
    since_flush,
    state_of,
)
from events.publishing.sessions import connection_of
from events.publishing.verbs import provide, publish, publish_async

__all__ = [
    "Part",
    "Publisher",
    "Recording",
    "Running",
    "connection_of",
    "drop",
    "give_back",
    "ids_of",
    "part_of",
    "parts_of",
    "provide",
    "publish",
    "publish_async",
    "running",
    "since_flush",
    "state_of",
]
