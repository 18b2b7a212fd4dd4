"""Sends wake-ups over Redis or RabbitMQ, by kombu."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from amqp.exceptions import ChannelError, FrameSyntaxError, MessageNacked, NotFound, PreconditionFailed
from amqp.serialization import dumps
from kombu import Connection, Producer, Queue

from events.errors import NotTaken, TransportError, Unsendable
from events.ledger import DeadLetter, Group, Parked
from events.relay import TransportFeatures
from events.settings import Settings
from events.text import redact
from events.transport.confirms import Confirms
from events.transport.connecting import connect
from events.transport.message import Message, dead_letter_message, wakeup_message
from events.transport.refusals import told
from events.transport.revival import SUSPICIOUS, Revival
from events.transport.topology import dead_letter_queue, is_rabbitmq, work_queue

_OF_THE_MESSAGE = (ValueError, TypeError, struct.error, FrameSyntaxError)  # raised before kombu asks the broker


class BrokerTransport:
    """Keeps the contract of events.relay.Transport. Used by one relay, in one thread.

    RabbitMQ confirms every message, and refuses a message that no queue takes. On Redis 500 messages are one pipeline.
    After any error the connection is closed: a late answer must not be taken for the answer to another message.
    """

    features = TransportFeatures(copies_dead_letters=True)

    def __init__(self, settings: Settings) -> None:
        self.name = "rabbitmq" if is_rabbitmq(settings) else "redis"
        self._settings = settings
        self._confirmed = is_rabbitmq(settings)
        self._connection: Connection | None = None
        self._confirms: Confirms | None = None
        self._nacked: list[int] = []  # numbers of messages in this batch that RabbitMQ has refused
        self._declared: set[str] = set()
        self._revival = Revival(settings)

    def send(self, groups: Sequence[Group]) -> None:
        unsendable: dict[Group, TransportError] = {}
        try:
            refused = self._send(groups)
        except Unsendable as error:
            # The groups that can't be sent are found without the broker: its trouble must not be blamed on a group.
            unsendable = {group: error for group in groups if not _fits_the_wire(group)}
            if not unsendable:
                raise TransportError(str(error)) from error
            rest = [group for group in groups if group not in unsendable]
            refused = self._send(rest) if rest else {}
        if refused or unsendable:
            raise NotTaken(refused | unsendable)

    def _send(self, groups: Sequence[Group]) -> dict[Group, TransportError]:
        """Send these groups. Returns those that a full queue has refused; all others have arrived."""
        queues = {group[0].queue for group in groups}
        with self._producing("send wake-ups", *queues) as producer:
            for queue in queues:
                self._declare(producer, work_queue(queue, self._settings))
            before = self._confirms.published if self._confirms is not None else 0
            self._publish(producer, [(wakeup_message(group), "", group[0].queue) for group in groups])
            if self._confirms is not None:
                self._confirms.wait()
            refused = [groups[number - before - 1] for number in self._nacked]
            self._nacked.clear()
        for queue in {group[0].queue for group in refused}:
            self._revival.suspect(queue)
        broker = redact(self._settings.broker_url)
        return {
            group: TransportError(f"{broker} refuses it: queue {group[0].queue} is full, or out of order")
            for group in refused
        }

    def send_dead(self, letters: Sequence[DeadLetter]) -> None:
        queue = dead_letter_queue(self._settings)
        with self._producing("send dead letters", queue.name) as producer:
            self._declare(producer, queue)
            self._publish(
                producer, [(dead_letter_message(letter), queue.exchange.name, queue.routing_key) for letter in letters]
            )

    def send_parked(self, message: Parked) -> None:
        with self._producing("send a parked message") as producer:
            if message.properties.get("raw"):  # not a message of kombu's, only bytes in a Redis list
                producer.channel.client.lpush(message.queue, message.body)
                return
            self._declare(producer, work_queue(message.queue, self._settings))
            self._publish_one(
                producer,
                message.body,
                exchange="",
                routing_key=message.queue,
                content_type=message.properties.get("content_type") or "application/octet-stream",
                content_encoding=message.properties.get("content_encoding") or "binary",
                headers=message.properties.get("headers") or {},
                correlation_id=message.properties.get("correlation_id"),
                delivery_mode=2,
                mandatory=self._confirmed,
            )

    def waiting(self, queue: str) -> int:
        with self._producing(f"look at queue {queue}") as producer:
            try:
                return int(producer.channel.queue_declare(queue, passive=True).message_count)
            except NotFound:  # the queue was deleted, and is declared anew later; the answer has closed the channel
                self.close()
                return 0
            except ChannelError:
                if self._confirmed:
                    raise
                return 0  # Redis deletes a list that is empty

    def held(self) -> Sequence[Group]:
        return ()

    def close(self) -> None:
        connection, self._connection, self._confirms = self._connection, None, None
        self._declared.clear()
        self._nacked.clear()
        if connection is not None:
            with suppress(Exception):
                connection.release()

    @contextmanager
    def _producing(self, action: str, *queues: str) -> Iterator[Producer]:
        """A producer on the kept connection.

        Args:
            action: for the error, such as "send wake-ups".
            queues: these are examined if the error is one that a dead queue causes.
        Raises:
            TransportError: the broker is away, or refused messages.
            Unsendable: a message is too large, or can't be encoded.
        """
        try:
            if self._connection is None:
                timeout = self._settings.broker_timeout.total_seconds()
                self._connection = connect(self._settings, timeout)
                if self._confirmed:
                    self._confirms = Confirms(self._connection.default_channel, timeout, on_nack=self._nacked.append)
            yield Producer(self._connection.default_channel, auto_declare=False)
            if self._confirms is not None:
                self._confirms.wait()
            if self._nacked:
                raise MessageNacked(f"{len(self._nacked)} messages refused: the queue is full, or out of order")
        except Exception as error:
            self.close()
            if self._confirmed and isinstance(error, SUSPICIOUS):
                for queue in queues:
                    self._revival.suspect(queue)
            reason = redact(f"{type(error).__name__}: {told(error)}")
            too_large = isinstance(error, PreconditionFailed) and "larger than" in str(error)
            kind = Unsendable if too_large or isinstance(error, _OF_THE_MESSAGE) else TransportError
            raise kind(f"can't {action} by {redact(self._settings.broker_url)}: {reason}") from error

    def _declare(self, producer: Producer, queue: Queue) -> None:
        """Declare a queue, once for each connection; on RabbitMQ the dead-letter queue behind it, too."""
        if queue.name in self._declared:
            return
        if self._confirmed and queue.name != (dead := dead_letter_queue(self._settings)).name:
            self._declare(producer, dead)
        queue.bind(producer.channel).declare()
        self._declared.add(queue.name)

    def _publish(self, producer: Producer, messages: Sequence[tuple[Message, str, str]]) -> None:
        # batch() makes one pipeline on Redis, and changes nothing on RabbitMQ.
        with producer.batch(max_size=500):
            for message, exchange, routing_key in messages:
                self._publish_one(
                    producer,
                    message.body,
                    exchange=exchange,
                    routing_key=routing_key,
                    content_type="application/json",
                    content_encoding="utf-8",
                    headers=message.headers,
                    correlation_id=message.correlation_id,
                    delivery_mode=2,
                    mandatory=self._confirmed,
                )

    def _publish_one(self, producer: Producer, body: Any, **options: Any) -> None:
        if self._confirms is None:
            producer.publish(body, **options)
        else:
            self._confirms.publish(producer.publish, body, **options)


def _fits_the_wire(group: Group) -> bool:
    """Whether AMQP and Redis can carry the message and the name of its queue."""
    try:
        message = wakeup_message(group)
        dumps("ssF", (group[0].queue, message.correlation_id, message.headers))  # AMQP: two short strings, and a table
        message.body.encode()
    except _OF_THE_MESSAGE:
        return False
    return True
