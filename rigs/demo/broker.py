"""Leaves the broker as it was: this run's queues go. Dead letters in them are copies: the ledger keeps them."""

from collections.abc import Mapping
from contextlib import suppress

from kombu import Connection

from rigs.demo.interrupts import held_back

TIMEOUT = 5  # seconds that a broker has to answer: it may be the very thing that failed


def remove_queues(settings: Mapping[str, str]) -> None:
    """Delete the queue that only this run used, and its dead-letter queue. A broker that is away is no error here."""
    url, queue = settings.get("EVENTS_BROKER_URL"), settings.get("EVENTS_QUEUE")
    if not url or not queue:
        return
    with held_back(), suppress(Exception), Connection(url, connect_timeout=TIMEOUT) as connection:
        if url.startswith("redis"):
            _remove_keys(connection, queue)
            return
        for name in (queue, f"{queue}.dead"):
            with suppress(Exception), connection.channel() as channel:
                channel.queue_delete(name)


def _remove_keys(connection: Connection, queue: str) -> None:
    """On Redis kombu only deletes queues that its own process declared, so the keys are deleted by name."""
    client = connection.default_channel.client
    for name in (queue, f"{queue}.dead"):
        with_priority = client.scan_iter(f"{name}\x06\x16*")  # kombu keeps each priority in a list of its own
        client.delete(name, f"_kombu.binding.{name}", *with_priority)
