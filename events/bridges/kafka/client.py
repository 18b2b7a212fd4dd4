"""Configures librdkafka for the bridge to Kafka, names the topics, and explains librdkafka's errors."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from events.bridges.address import Address, wrong
from events.bridges.contract import Scheme
from events.errors import TransportError, Unsendable
from events.text import redact

log = logging.getLogger("events.bridges.kafka")
log.addHandler(logging.NullHandler())  # librdkafka's own lines are for debugging; the bridge reports the errors

SCHEMES = {"kafka": Scheme("kafka", 9092), "kafka+tls": Scheme("kafka-secure", 9092, tls=True)}
LOOK_EVERY = 10.0  # seconds between looks for event types that became known
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SESSION = (6.0, 45.0)  # seconds; the least that brokers allow, and librdkafka's default
_OURS = {  # settings on which the promise of the bridge depends: why they can't be changed
    "acks": "all replicas have to have an event before it counts as sent",
    "request.required.acks": "all replicas have to have an event before it counts as sent",
    "delivery.report.only.error": "the bridge has to hear what has arrived",
    "transactional.id": "the bridge is in no transaction of Kafka's",
    "enable.auto.commit": "offsets are committed after our own commit",
    "auto.commit.enable": "offsets are committed after our own commit",
    "enable.auto.offset.store": "offsets are committed after our own commit",
    "group.id": "use group=",
}


def check(address: Address) -> None:
    """Check the URL without connecting. Raises ConfigurationError, with the cure."""
    topic = address.options.get("topic")
    if topic is not None and not _TOPIC.fullmatch(topic):
        raise wrong(address.url, f"topic={topic}", "use 1 to 249 letters, digits, '.', '_' or '-'")
    for name, value in parse_qsl(urlsplit(address.url).query):
        if name in _OURS:
            raise wrong(address.url, f"{name}={value}", f"leave it out: {_OURS[name]}")
    nowhere = {"bootstrap.servers": ""}
    try:
        Producer(producing(address) | nowhere)
        Consumer(consuming(address) | nowhere).close()
    except (KafkaException, TypeError, ValueError) as error:
        why = error.args[0]
        why = why.str() if isinstance(why, KafkaError) else str(why)
        raise wrong(address.url, why, "see librdkafka's CONFIGURATION.md") from None


def producing(address: Address, **more: Any) -> dict[str, Any]:
    ours = {
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 5,
        "message.timeout.ms": int(address.timeout * 1000),
        # Half the timeout, so that the error of a missing topic says so, and not that the message timed out.
        "topic.metadata.propagation.max.ms": int(address.timeout * 500),
    }
    return _settings(address, ours | more)


def consuming(address: Address, **more: Any) -> dict[str, Any]:
    session = max(_SESSION[0], min(address.redeliver, _SESSION[1]))
    ours = {
        "group.id": address.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": int(session * 1000),
        "heartbeat.interval.ms": 1_000,  # within this time a new topic is noticed, too
        "max.poll.interval.ms": int(max(session, address.redeliver) * 1000),
        "allow.auto.create.topics": True,
        "topic.metadata.refresh.interval.ms": int(LOOK_EVERY * 1000),
    }
    return _settings(address, ours | more)


def _settings(address: Address, ours: dict[str, Any]) -> dict[str, Any]:
    """The settings of librdkafka; those of the URL come last, and count."""
    parts = urlsplit(address.url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    tls = SCHEMES[address.scheme].tls
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
    return common | ours | dict(parse_qsl(parts.query))


class Trouble:
    """The last error of a connection. It is the cause of the errors of messages and groups, which don't name it."""

    def __init__(self) -> None:
        self._cause = ""

    def forget(self) -> None:
        """Forget the error, before connecting anew."""
        self._cause = ""

    def note(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # this error follows from the others
            self._cause = error.str()

    def explained(self, error: KafkaError) -> str:
        return f"{error.name()}: {error.str()}{f'; {self._cause}' if self._cause not in error.str() else ''}"


@contextmanager
def reachable(address: Address, action: str, trouble: Trouble) -> Iterator[None]:
    """Raise the errors of Kafka as TransportError. `action`: for the error, such as "send to"."""
    try:
        yield
    except KafkaException as error:
        raise TransportError(f"can't {action} {redact(address.url)}: {trouble.explained(error.args[0])}") from error


def topic_of(address: Address, event_type: str) -> str:
    """The topic of an event type. Raises Unsendable if Kafka allows no such name."""
    topic = address.options.get("topic") or f"{address.prefix}.{event_type}"
    if not _TOPIC.fullmatch(topic):
        raise Unsendable(f"{topic!r} is no name for a topic of Kafka: 1 to 249 letters, digits, '.', '_' or '-'")
    return topic


def topics_of(address: Address, event_types: Iterable[str]) -> list[str]:
    """The topics of event types. Types with a name that Kafka doesn't allow have none: their events can't come in."""
    topics = set()
    for event_type in event_types:
        try:
            topics.add(topic_of(address, event_type))
        except Unsendable:
            log.debug("no topic can be called after %r", event_type)
    return sorted(topics)
