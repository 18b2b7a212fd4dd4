"""The queues and exchanges, the same for the relay that sends and the workers that consume.

Wake-ups go through the anonymous exchange, straight to the queue of their name: there is no binding to lose.
"""

from kombu import Exchange, Queue

from events.settings import Settings

_REDELIVERIES = 20  # by RabbitMQ itself, before it gives the message to the dead-letter queue; the ledger sends another


def is_rabbitmq(settings: Settings) -> bool:
    return settings.broker_url.startswith("amqp")


def work_queue(name: str, settings: Settings) -> Queue:
    """A queue of wake-ups. On RabbitMQ durable and replicated; what it can't keep it refuses rather than drops."""
    arguments: dict[str, object] | None = None
    if is_rabbitmq(settings):
        arguments = {"x-queue-type": settings.rabbitmq_queue_type, "x-dead-letter-exchange": f"{settings.queue}.dlx"}
        if settings.rabbitmq_queue_type == "quorum":
            arguments |= {
                "x-delivery-limit": _REDELIVERIES,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
    return Queue(name, Exchange("", type="direct"), routing_key=name, durable=True, queue_arguments=arguments)


def dead_letter_queue(settings: Settings) -> Queue:
    """Where copies of dead letters wait for whoever looks at the broker; no worker consumes it.

    A list on Redis; on RabbitMQ a queue behind an exchange.
    """
    name = f"{settings.queue}.dead"
    if not is_rabbitmq(settings):
        return Queue(name, Exchange("", type="direct"), routing_key=name)
    exchange = Exchange(f"{settings.queue}.dlx", type="fanout", durable=True)
    arguments = {"x-queue-type": settings.rabbitmq_queue_type}
    return Queue(name, exchange, routing_key="", durable=True, queue_arguments=arguments)
