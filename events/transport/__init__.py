"""The transports of wake-ups: `memory` without a broker, `broker` for Redis and RabbitMQ. Both send the same `message`.

May import: relay (the contract of a transport), ledger, settings and the words below. Open first: `message`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from events.transport.broker import BrokerTransport
    from events.transport.confirms import Confirms
    from events.transport.connecting import connect
    from events.transport.memory import MemoryTransport
    from events.transport.message import GARBAGE, HEADER, group_of, task_id, wakeup_message
    from events.transport.opening import celery_broker_url, open_transport
    from events.transport.redis import asked
    from events.transport.refusals import broker_cure, told
    from events.transport.revival import SUSPICIOUS, Revival
    from events.transport.topology import dead_letter_queue, is_rabbitmq, work_queue
else:
    from events.lazily import rooms

    __getattr__ = rooms(
        __name__,
        {
            "broker": "BrokerTransport",
            "confirms": "Confirms",
            "connecting": "connect",
            "memory": "MemoryTransport",
            "message": "GARBAGE HEADER group_of task_id wakeup_message",
            "opening": "celery_broker_url open_transport",
            "redis": "asked",
            "refusals": "broker_cure told",
            "revival": "SUSPICIOUS Revival",
            "topology": "dead_letter_queue is_rabbitmq work_queue",
        },
    )

__all__ = [
    "GARBAGE",
    "HEADER",
    "SUSPICIOUS",
    "BrokerTransport",
    "Confirms",
    "MemoryTransport",
    "Revival",
    "asked",
    "broker_cure",
    "celery_broker_url",
    "connect",
    "dead_letter_queue",
    "group_of",
    "is_rabbitmq",
    "open_transport",
    "task_id",
    "told",
    "wakeup_message",
    "work_queue",
]
