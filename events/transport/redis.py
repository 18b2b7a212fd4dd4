"""Kombu's Redis transport, made to survive a server that refuses commands, and items that are no messages.

Kombu takes an item out of the list before it reads the item: an item that it can't read is lost, and the worker ends.
Here such an item becomes a message of its bytes, with the header GARBAGE, unacknowledged like any other message.

A server that is full, read-only or has another password takes connections and refuses commands. Kombu's channels then
stay half open when they are closed, and messages that couldn't be acknowledged keep their place within the prefetch
limit of the worker.
"""

import base64
import json
import logging
from contextlib import suppress
from typing import Any
from uuid import uuid4

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import loads

from events.transport.message import GARBAGE
from events.watchdog import Pulse

log = logging.getLogger("events.transport")

# Beats each time that a consumer of this process asks Redis for messages: every second, while the worker has room.
asked = Pulse()
_CHANNELS = 1000  # more than a connection has


class QoS(kombu_redis.QoS):  # type: ignore[misc]
    """The messages that a worker has taken and not acknowledged.

    Kombu frees a message's place only if Redis took the acknowledgement; so the worker would end up with no room and
    nothing to do. Here the place is always freed. Redis delivers such a message again, and the ledger drops the repeat.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)


class Channel(kombu_redis.Channel):  # type: ignore[misc]
    """Checks each item of a BRPOP before kombu reads the item."""

    QoS = QoS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._kept_client: Any = None
        super().__init__(*arguments, **options)

    def _create_client(self, asynchronous: bool = False) -> Any:
        """One client for the channel: kombu would make a client for each message taken, and for each acknowledged."""
        if asynchronous:
            client = super()._create_client(asynchronous=True)
            client.set_response_callback("BRPOP", self._readable)
            return client
        if self._kept_client is None or self._kept_client.connection_pool is not self.pool:
            self._kept_client = super()._create_client()
        return self._kept_client

    def _get_pool(self, asynchronous: bool = False) -> Any:
        """The pool; raises ConnectionResetError if the connection is closed.

        A task may end just when the connection has broken. Its acknowledgement would raise AttributeError, by which
        Celery ends the worker; a connection error makes Celery connect anew.
        """
        if self.connection is None or self.connection.client is None:
            raise ConnectionResetError("the connection to Redis is closed")
        return super()._get_pool(asynchronous=asynchronous)

    def close(self) -> None:
        """Close all connections, even if Redis refuses commands; those, too, that closing has opened."""
        try:
            super().close()
        except Exception as error:
            log.debug("a channel did not close well: %s", error)
            with suppress(Exception):
                super().close()
        finally:
            for step in (self._disconnect_pools, self._close_clients):
                with suppress(Exception):
                    step()
            self._kept_client = None

    def _brpop_start(self, timeout: float | None = None) -> None:
        super()._brpop_start(timeout)
        asked.beat()

    def _readable(self, answer: Any, **_: Any) -> tuple[bytes, bytes] | None:
        """The answer of Redis, as redis-py shall return it: kombu can read it, whatever was in the list."""
        if not answer:
            return None
        key, item = answer
        if self._is_message(item):
            return key, item
        return key, json.dumps(_garbage(item, queue=key.decode().rsplit(self.sep, 1)[0])).encode()

    def _is_message(self, item: bytes) -> bool:
        """Whether kombu can make a message of the item: it has the shape that kombu writes, whatever the content."""
        try:
            payload: dict[str, Any] = loads(item.decode())
            # Kombu reads these without a check, when it makes the message and when it keeps it as unacknowledged.
            fits = (
                isinstance(payload["properties"]["delivery_tag"], str)
                and isinstance(payload["properties"]["delivery_info"], dict)
                and isinstance(payload["properties"]["delivery_info"].get("routing_key"), str)
                and isinstance(payload["properties"]["delivery_info"].get("exchange", ""), str)
                and isinstance(payload["headers"], dict)
                and isinstance(payload["body"], str)
            )
            if fits and payload["properties"].get("body_encoding") == "base64":
                base64.b64decode(payload["body"], validate=True)  # kombu would leave out characters that are no base64
            if fits:
                self.Message(payload, channel=self)
            return fits
        except Exception as error:  # whatever the error, the item is no message
            log.debug("no message of kombu's: %s", error)
            return False


def _garbage(item: bytes, queue: str) -> dict[str, Any]:
    """A message of kombu's with these bytes as its body."""
    return {
        "body": base64.b64encode(item).decode(),
        "headers": {GARBAGE: True},
        "content-type": "application/octet-stream",
        "content-encoding": "binary",
        "properties": {
            "delivery_tag": str(uuid4()),
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    """The transport of workers, which name it as `events.transport.redis:Transport`."""

    Channel = Channel

    def close_connection(self, connection: Any) -> None:
        """Close all channels, even if some fail to close: each try takes one more channel out of kombu's lists."""
        for _ in range(_CHANNELS):
            try:
                super().close_connection(connection)
            except Exception as error:
                log.debug("a channel did not close well: %s", error)
            else:
                break
