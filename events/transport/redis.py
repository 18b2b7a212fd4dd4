"""Kombu's Redis transport, except that garbage in the list reaches the consumer as a message instead of ending it.

Kombu takes an item out of the list before it looks at it: what it can't read is lost, and the worker with it. Here
such an item becomes a message of its own bytes, with the header GARBAGE, held as unacknowledged like any other.
"""

import base64
import logging
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.transport import redis as kombu_redis
from kombu.utils.json import loads

from events.transport.message import GARBAGE

log = logging.getLogger("events.transport")


class Channel(kombu_redis.Channel):  # type: ignore[misc]
    """Reads what a BRPOP brought in its own, careful way."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._kept_client: Any = None
        super().__init__(*arguments, **options)
        self.handlers["BRPOP"] = self._brpop_read

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Kombu makes one for each message that it takes, and one for each that it acknowledges."""
        if asynchronous:
            return super()._create_client(asynchronous=True)
        if self._kept_client is None or self._kept_client.connection_pool is not self.pool:
            self._kept_client = super()._create_client()
        return self._kept_client

    def _get_pool(self, asynchronous: bool = False) -> Any:
        """A task may end just when its connection has broken: to acknowledge it is then a connection error like any
        other, and not an AttributeError, which Celery takes for the end of the worker."""
        if self.connection is None or self.connection.client is None:
            raise ConnectionResetError("the connection to Redis is closed")
        return super()._get_pool(asynchronous=asynchronous)

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                answer = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not answer:
                raise Empty
            key, item = answer
            queue = key.decode("utf-8", "surrogateescape").rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self.connection._deliver(self._payload(item, queue), queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _payload(self, item: bytes, queue: str) -> dict[str, Any]:
        """What kombu makes a message of; it may hold anything, but has the shape that kombu itself writes."""
        try:
            payload: dict[str, Any] = loads(item.decode())
            # The places where kombu looks without asking, while it makes a message and keeps it as unacknowledged.
            fits = (
                isinstance(payload["properties"]["delivery_tag"], str)
                and isinstance(payload["properties"]["delivery_info"], dict)
                and isinstance(payload["properties"]["delivery_info"].get("routing_key"), str)
                and isinstance(payload["properties"]["delivery_info"].get("exchange", ""), str)
                and isinstance(payload["headers"], dict)
                and isinstance(payload["body"], str)
            )
            if fits and payload["properties"].get("body_encoding") == "base64":
                base64.b64decode(payload["body"], validate=True)  # kombu leaves out what is no base64
            if fits:
                self.Message(payload, channel=self)
                return payload
        except Exception as error:  # whatever it is, it is no message
            log.debug("no message of kombu's: %s", error)
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
    """Named in full where a worker connects: `events.transport.redis:Transport`."""

    Channel = Channel
