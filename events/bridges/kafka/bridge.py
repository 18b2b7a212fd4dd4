"""Kafka: `kafka://host:9092,host:9092`, `kafka+tls://` for TLS; needs the extra `[kafka]`. At least once, both ways.

Events go to the topic `events.{EventName}`, or all to one topic (`?topic=`), with the aggregate's id as key, so that
one aggregate's events stay in one partition and in order. The producer is idempotent, and waits for all replicas.

Inbound is a consumer group. Offsets are committed after our own commit, and never by librdkafka itself. A user in the
URL logs in by SASL (`?mechanism=PLAIN`). Other parameters are librdkafka's: `?compression.type=zstd`.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import methodcaller
from typing import Any, ClassVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from events.bridges.address import Address
from events.bridges.contract import AT_ONCE, Features, Message, Received, Scheme
from events.bridges.kafka.client import (
    LOOK_EVERY,
    SCHEMES,
    Trouble,
    check,
    consuming,
    log,
    producing,
    reachable,
    topic_of,
    topics_of,
)
from events.errors import PartlySent, TransportError, Unsendable
from events.text import redact

_HOPELESS = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.TOPIC_EXCEPTION)
_AWAY = (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._RESOLVE)
_MISSING = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._PARTITION_EOF)
# If the name of a header is no UTF-8, the client fails without setting an error. Python's fast way of calling a method
# doesn't check for that, and the process ends; called in this way, the method raises SystemError.
_headers_of = methodcaller("headers")


class Bridge:
    """Keeps the contract of events.bridges.Bridge."""

    features: ClassVar[Features] = Features()
    schemes: ClassVar[Mapping[str, Scheme]] = SCHEMES
    options: ClassVar[frozenset[str]] = frozenset({"topic", "mechanism"})
    attribute_prefix: ClassVar[str] = "ce_"

    def __init__(self, address: Address) -> None:
        check(address)
        self._address = address

    def address(self, event_type: str) -> str:
        return topic_of(self._address, event_type)

    def bindings(self, event_type: str) -> Mapping[str, Any]:
        return {"kafka": {"topic": self.address(event_type)}}

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address, wanted)


class Publisher:
    """Sends a batch, then waits for a report about each message. Threads share the producer."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._trouble = Trouble()

    def send(self, messages: Sequence[Message]) -> None:
        topics = [topic_of(self._address, message.event_type) for message in messages]
        reports: dict[int, KafkaError | None] = {}

        def report(number: int, error: KafkaError | None, _: object) -> None:  # called by any thread that polls
            reports[number] = error

        until = time.monotonic() + self._address.timeout + 1.0  # librdkafka gives up a little earlier
        with reachable(self._address, "send to", self._trouble):
            producer = self._connected()
            for number, (topic, message) in enumerate(zip(topics, messages, strict=True)):
                while not self._produced(producer, topic, message, partial(report, number)):
                    if time.monotonic() >= until:
                        break
            while len(reports) < len(messages) and time.monotonic() < until:
                producer.poll(0.05) if reports else producer.flush(0.1)
        if len(reports) < len(messages) or any(reports.values()):
            self._judge(messages, topics, reports)

    def close(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(1.0)

    def _produced(self, producer: Producer, topic: str, message: Message, report: Callable[..., None]) -> bool:
        """Queue a message. Returns False if the producer's queue is full of messages that have not arrived yet."""
        headers: list[tuple[str, str | bytes | None]] = [*message.headers(Bridge.attribute_prefix).items()]
        try:
            key = message.aggregate_id.encode() or None
            producer.produce(topic, message.body, key, headers=headers, on_delivery=report)
        except KafkaException as error:
            report(error.args[0], None)
        except BufferError:
            producer.poll(0.05)
            return False
        return True

    def _judge(self, messages: Sequence[Message], topics: list[str], reports: dict[int, KafkaError | None]) -> None:
        failed: dict[str, TransportError] = {}
        answered = False  # whether brokers have answered about any message
        for number, (topic, message) in enumerate(zip(topics, messages, strict=True)):
            error = reports.get(number, KafkaError(KafkaError._MSG_TIMED_OUT))
            answered = answered or error is None or error.code() > 0 or error.code() in _MISSING
            if error is not None:
                why = f"can't send to {redact(self._address.url)}: topic {topic!r}: {self._trouble.explained(error)}"
                failed[message.event_id] = (Unsendable if error.code() in _HOPELESS else TransportError)(why)
        if len(reports) < len(messages):
            self.close()  # else messages still under way would arrive after their repetition
        with self._lock:
            self._producer = None  # it remembers missing topics for minutes; other threads still use it to their end
        if answered:
            raise PartlySent(failed)
        raise next(iter(failed.values()))

    def _connected(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._trouble.forget()
                self._producer = Producer(producing(self._address, error_cb=self._trouble.note))
            return self._producer


class Subscriber:
    """A consumer of the group. It holds its batch until the batch is acknowledged."""

    def __init__(self, address: Address, wanted: Callable[[], Collection[str]]) -> None:
        self._address = address
        self._wanted = wanted
        self._consumer: Consumer | None = None
        self._topics: list[str] = []
        self._looked = 0.0
        self._held: list[Received] = []
        self._error: KafkaError | None = None
        self._trouble = Trouble()

    def receive(self, timeout: float) -> Sequence[Received]:
        if self._held:  # messages not acknowledged aren't written: no later offset may be committed before theirs
            return list(self._held)
        with reachable(self._address, "receive from", self._trouble):
            consumer = self._connected()
            if not self._topics:
                time.sleep(timeout)
                return []
            try:
                self._held = self._taken(consumer, timeout)
            except BaseException:
                self.close()  # else the taken messages would be skipped; a new consumer begins at the committed offsets
                raise
            error = None if self._held else self._error
            if error is not None:
                self._error = None
                if error.fatal():
                    self.close()
                raise KafkaException(error)
            return list(self._held)

    def acknowledge(self, received: Sequence[Received]) -> None:
        """Commit without waiting for the answer: librdkafka would wait for it without end."""
        self._held = []
        last: dict[tuple[str, int], int] = {}
        for message in received:
            topic, partition, offset = message.token
            last[topic, partition] = max(offset, last.get((topic, partition), 0))
        offsets = [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in last.items()]
        with reachable(self._address, "acknowledge to", self._trouble):
            if self._consumer is None:
                raise KafkaException(KafkaError(KafkaError._STATE, "the consumer of these messages is gone"))
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._held, self._topics, self._error = [], [], None
        if consumer is None:
            return

        def close() -> None:
            with suppress(Exception):
                consumer.close()

        # In a thread, as librdkafka waits without end for brokers that don't answer.
        closing = threading.Thread(target=close, name="events-kafka-closing", daemon=True)
        closing.start()
        closing.join(self._address.timeout + 1.0)

    def _taken(self, consumer: Consumer, timeout: float) -> list[Received]:
        first = consumer.poll(timeout)
        taken = [] if first is None else [first, *consumer.consume(AT_ONCE - 1, 0)]
        for message in taken:
            if (error := message.error()) and error.code() not in _MISSING:
                self._error = error  # raised when the messages that came with it are acknowledged
        return [self._received(message) for message in taken if not message.error()]

    def _connected(self) -> Consumer:
        if self._consumer is None:
            self._trouble.forget()
            more = {"error_cb": self._on_error, "on_commit": self._on_commit}
            self._consumer = Consumer(consuming(self._address, **more))
        now = time.monotonic()
        if not self._topics or now - self._looked >= LOOK_EVERY:
            wanted = topics_of(self._address, self._wanted())
            if wanted and wanted != self._topics:
                self._consumer.subscribe(wanted)
            self._topics, self._looked = wanted, now
        return self._consumer

    def _on_error(self, error: KafkaError) -> None:
        self._trouble.note(error)
        if error.fatal() or error.code() in _AWAY:
            self._error = error

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """Keep the error of a commit: at worst, acknowledged messages come again."""
        self._error = next((offset.error for offset in offsets if offset.error), error) or self._error

    def _received(self, message: Any) -> Received:
        topic, partition, offset = token = message.topic(), message.partition(), message.offset()
        kind = "" if "topic" in self._address.options else topic.removeprefix(f"{self._address.prefix}.")
        position = f"{partition} {offset} {message.timestamp()[1]}"
        return Received(message.value() or b"", _headers(message), topic, position, kind, token=token)


def _headers(message: Any) -> dict[str, str]:
    try:
        return {name.lower(): (value or b"").decode("utf-8", "replace") for name, value in _headers_of(message) or []}
    except Exception as error:
        log.warning("the headers of a message of topic %s can't be read, and are left out: %s", message.topic(), error)
        return {}
