"""The transports of wake-ups: `memory` without a broker, `broker` for Redis and RabbitMQ. Both send the same `message`.

May import: relay (the contract of a transport), ledger, settings and the words below. Open first: `message`.
"""

from events.transport.broker import BrokerTransport
from events.transport.confirms import Confirms
from events.transport.connecting import connect
from events.transport.memory import MemoryTransport
from events.transport.message import GARBAGE, HEADER, group_of, task_id, wakeup_message
from events.transport.opening import celery_broker_url, open_transport
from events.transport.refusals import broker_cure, told
from events.transport.revival import SUSPICIOUS, Revival
from events.transport.topology import is_rabbitmq, work_queue

__all__ = [
    "GARBAGE",
    "HEADER",
    "SUSPICIOUS",
    "BrokerTransport",
    "Confirms",
    "MemoryTransport",
    "Revival",
    "broker_cure",
    "celery_broker_url",
    "connect",
    "group_of",
    "is_rabbitmq",
    "open_transport",
    "task_id",
    "told",
    "wakeup_message",
    "work_queue",
]
