"""Kafka: `kafka://host:9092,host:9092`, `kafka+tls://` for TLS; needs the extra `[kafka]`. At least once, both ways.

Events go to the topic `events.{EventName}`, or all to one (`?topic=`), with the aggregate's id as key, so that one
aggregate's events stay in one partition and in order. The producer is idempotent, and waits for all replicas.

Inbound is a consumer group. Offsets are committed after our own commit, and never by themselves. With a user in the URL
it is SASL (`?mechanism=PLAIN`). Other parameters are librdkafka's: `?compression.type=zstd`.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from events.bridge_url import Address, wrong
from events.bridging import AT_ONCE, Features, Message, Received
from events.errors import PartlySent, TransportError, Unsendable
from events.settings import redact

log = logging.getLogger("events.bridges.kafka")
log.addHandler(logging.NullHandler())  # librdkafka's own words; errors are said by us

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_LOOK_EVERY = 10.0  # seconds between looks for events that became known
_SESSION = (6.0, 45.0)  # seconds; what brokers allow at least, and librdkafka's own default
_HOPELESS = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.TOPIC_EXCEPTION)
_AWAY = (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._RESOLVE)
_MISSING = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._PARTITION_EOF)


class Bridge:
    """Keeps the contract of events.bridging.Bridge."""

    features: ClassVar[Features] = Features()
    options: ClassVar[frozenset[str]] = frozenset({"topic", "mechanism"})

    def __init__(self, address: Address) -> None:
        topic = address.options.get("topic")
        if topic is not None and not _TOPIC.fullmatch(topic):
            raise wrong(address.url, f"topic={topic}", "use 1 to 249 letters, digits, '.', '_' or '-'")
        try:
            Producer(configuration(address) | {"bootstrap.servers": ""})  # which connects to nothing
        except KafkaException as error:
            raise wrong(address.url, str(error.args[0].str()), "see librdkafka's CONFIGURATION.md") from None
        self._address = address

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address, wanted)


def configuration(address: Address, **more: Any) -> dict[str, Any]:
    """Of librdkafka, with what the URL says last."""
    parts = urlsplit(address.url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    tls = parts.scheme == "kafka+tls"
    common: dict[str, Any] = {
        "bootstrap.servers": hosts,
        "security.protocol": f"{'SASL_' if credentials else ''}{'SSL' if tls else 'PLAINTEXT'}",
        "reconnect.backoff.max.ms": 1_000,
        "logger": log,
    }
    if credentials:
        user, _, password = credentials.partition(":")
        common |= {
            "sasl.mechanism": address.options.get("mechanism", "PLAIN"),
            "sasl.username": unquote(user),
            "sasl.password": unquote(password),
        }
    if address.ca:
        common["ssl.ca.location"] = address.ca
    return common | more | dict(parse_qsl(parts.query))


@contextmanager
def reachable(address: Address, what: str) -> Iterator[None]:
    """What goes wrong with Kafka as the contract says it."""
    try:
        yield
    except KafkaException as error:
        raise TransportError(f"can't {what} {redact(address.url)}: {error.args[0]}") from error


class Publisher:
    """Sends a batch, then waits for a report about each of it. The producer is shared by threads."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def send(self, messages: Sequence[Message]) -> None:
        topics = [topic_of(self._address, message.event_type) for message in messages]
        reports: dict[int, KafkaError | None] = {}

        def report(number: int, error: KafkaError | None, _: object) -> None:  # by whichever thread polls
            reports[number] = error

        with reachable(self._address, "send to"):
            producer = self._connected()
            for number, (topic, message) in enumerate(zip(topics, messages, strict=True)):
                told = partial(report, number)
                key = message.aggregate_id.encode() or None
                headers: list[tuple[str, str | bytes | None]] = [*message.headers("ce_").items()]
                try:
                    producer.produce(topic, message.body, key, on_delivery=told, headers=headers)
                except KafkaException as error:
                    told(error.args[0], None)
                except BufferError as error:  # other threads have filled it
                    raise TransportError(f"can't send to {redact(self._address.url)}: {error}") from error
            until = time.monotonic() + self._address.timeout + 1.0  # librdkafka gives up by itself a little earlier
            while len(reports) < len(messages) and time.monotonic() < until:
                producer.poll(0.05) if reports else producer.flush(0.1)
        failed = {number: error for number, error in reports.items() if error is not None}
        if failed or len(reports) < len(messages):
            self._judge(messages, failed, len(reports))

    def close(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(1.0)

    def _judge(self, messages: Sequence[Message], failed: dict[int, KafkaError], reported: int) -> None:
        where = redact(self._address.url)
        if reported == len(messages) and all(error.code() in _HOPELESS for error in failed.values()):
            hopeless = {messages[number].event_id: Unsendable(f"{where}: {error}") for number, error in failed.items()}
            if len(messages) == 1:
                raise next(iter(hopeless.values()))
            raise PartlySent(hopeless)
        self.close()  # what is still under way would be sent after its repetition
        first = next(iter(failed.values()), "no answer")
        raise TransportError(f"can't send to {where}: {first}")

    def _connected(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = Producer(
                    configuration(
                        self._address,
                        **{
                            "enable.idempotence": True,
                            "acks": "all",
                            "linger.ms": 5,
                            "message.timeout.ms": int(self._address.timeout * 1000),
                        },
                    )
                )
            return self._producer


class Subscriber:
    """One consumer of the group. It holds its batch until that is acknowledged."""

    def __init__(self, address: Address, wanted: Callable[[], Collection[str]]) -> None:
        self._address = address
        self._wanted = wanted
        self._consumer: Consumer | None = None
        self._topics: list[str] = []
        self._looked = 0.0
        self._held: list[Received] = []
        self._error: KafkaError | None = None

    def receive(self, timeout: float) -> Sequence[Received]:
        if self._held:  # what is not acknowledged has not been written: nothing later may be committed before it
            return list(self._held)
        with reachable(self._address, "receive from"):
            consumer = self._connected()
            if not self._topics:
                time.sleep(timeout)
                return []
            first = consumer.poll(timeout)
            found = [] if first is None else [first, *consumer.consume(AT_ONCE - 1, 0)]
            for one in found:
                if (error := one.error()) and error.code() not in _MISSING:
                    raise KafkaException(error)
            self._held = [self._received(one) for one in found if not one.error()]
            error, self._error = self._error, None
            if not self._held and error is not None:
                raise KafkaException(error)
            return list(self._held)

    def acknowledge(self, received: Sequence[Received]) -> None:
        self._held = []
        last: dict[tuple[str, int], int] = {}
        for one in received:
            topic, partition, offset = one.token
            last[topic, partition] = max(offset, last.get((topic, partition), 0))
        with reachable(self._address, "acknowledge to"):
            offsets = [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in last.items()]
            for done in self._connected().commit(offsets=offsets, asynchronous=False) or []:
                if done.error:
                    raise KafkaException(done.error)

    def close(self) -> None:
        consumer, self._consumer, self._held = self._consumer, None, []
        if consumer is not None:
            with suppress(Exception):
                consumer.close()

    def _connected(self) -> Consumer:
        if self._consumer is None:
            session = max(_SESSION[0], min(self._address.redeliver, _SESSION[1]))
            self._consumer = Consumer(
                configuration(
                    self._address,
                    **{
                        "group.id": self._address.group,
                        "enable.auto.commit": False,
                        "enable.auto.offset.store": False,
                        "auto.offset.reset": "earliest",
                        "session.timeout.ms": int(session * 1000),
                        "heartbeat.interval.ms": 1_000,  # also how soon a topic that is new is noticed
                        "max.poll.interval.ms": int(max(session, self._address.redeliver) * 1000),
                        "allow.auto.create.topics": True,
                        "topic.metadata.refresh.interval.ms": int(_LOOK_EVERY * 1000),
                        "error_cb": self._on_error,
                    },
                )
            )
        now = time.monotonic()
        if not self._topics or now - self._looked >= _LOOK_EVERY:
            # What has a name that Kafka doesn't allow can't come from there.
            wanted = sorted(
                {topic for name in self._wanted() if _TOPIC.fullmatch(topic := _topic(self._address, name))}
            )
            if wanted and wanted != self._topics:
                self._consumer.subscribe(wanted)
            self._topics, self._looked = wanted, now
        return self._consumer

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in _AWAY:
            self._error = error

    def _received(self, message: Any) -> Received:
        headers = {name.lower(): (value or b"").decode("utf-8", "replace") for name, value in message.headers() or []}
        topic, partition, offset = token = message.topic(), message.partition(), message.offset()
        kind = "" if "topic" in self._address.options else topic.removeprefix(f"{self._address.prefix}.")
        position = f"{partition} {offset} {message.timestamp()[1]}"
        return Received(message.value() or b"", headers, topic, position, kind, token=token)


def topic_of(address: Address, event_type: str) -> str:
    """Raises Unsendable: Kafka allows no such name."""
    topic = _topic(address, event_type)
    if not _TOPIC.fullmatch(topic):
        raise Unsendable(f"{topic!r} is no name for a topic of Kafka: 1 to 249 letters, digits, '.', '_' or '-'")
    return topic


def _topic(address: Address, event_type: str) -> str:
    return address.options.get("topic") or f"{address.prefix}.{event_type}"
