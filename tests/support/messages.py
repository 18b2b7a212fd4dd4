"""Puts messages of every shape on a real broker's queue, past everything that would refuse them."""

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import kombu
import redis

from events.ledger.records import Wakeup
from events.transport.message import wakeup_message
from support.servers import server_url
from support.system import BROKERS, System


class Sender:
    """A program that writes what it likes into a system's queue. Its connection is its own, past the forwarder."""

    def __init__(self, system: System) -> None:
        self.raw = system.mode == "redis"  # whether `send_raw` can be had
        self.queue = system.environment["EVENTS_QUEUE"]
        url = server_url(BROKERS[system.mode])
        self._redis = redis.Redis.from_url(url) if system.mode == "redis" else None
        self._connection = None if self._redis else kombu.Connection(url)
        self._channel: Any = self._connection.channel() if self._connection else None

    def close(self) -> None:
        if self._redis:
            self._redis.close()
        if self._connection:
            self._connection.release()

    def send(self, body: bytes, headers: Any, content_type: Any = "application/json", content_encoding: Any = "utf-8",
             **properties: Any) -> None:  # fmt: skip
        """One message, with exactly these parts."""
        if self._redis is None:
            message = self._channel.prepare_message(
                body,
                content_type=content_type,
                content_encoding=content_encoding,
                headers=headers,
                properties=properties,
            )
            self._channel.basic_publish(message, exchange="", routing_key=self.queue)
            return
        payload = {
            "body": base64.b64encode(body).decode(),
            "headers": headers,
            "content-type": content_type,
            "content-encoding": content_encoding,
            "properties": {
                "delivery_tag": str(uuid4()),
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": self.queue},
            }
            | properties,
        }
        self.send_raw(json.dumps(payload).encode())

    def send_raw(self, item: bytes) -> None:
        """Bytes straight into the Redis list."""
        assert self._redis is not None
        self._redis.lpush(self.queue, item)

    def send_wakeup(self, event_id: UUID, handler: str, attempt: int = 1) -> None:
        message = wakeup_message((Wakeup(event_id, handler, self.queue, attempt),))
        self.send(message.body.encode(), message.headers, correlation_id=message.correlation_id)

    def waiting(self) -> int:
        """Messages that nobody has taken yet."""
        if self._redis:
            return int(self._redis.llen(self.queue))
        return int(self._channel.queue_declare(self.queue, passive=True).message_count)
