"""Declares the queues and exchanges, the same for the relay that sends and for the workers that consume.

Wake-ups go through the anonymous exchange, straight to the queue with their routing key: no binding can be lost.
"""

from kombu import Exchange, Queue

from events.settings import Settings

_REDELIVERIES = 20  # by RabbitMQ itself, before the message goes to the dead-letter queue; the relay sends another


def is_rabbitmq(settings: Settings) -> bool:
    return settings.broker_url.startswith("amqp")


def work_queue(name: str, settings: Settings) -> Queue:
    """A queue of wake-ups. On RabbitMQ it is durable and replicated; if it is full, it refuses messages, drops none."""
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
    """The queue with copies of dead letters, for operators who look at the broker; no worker consumes it.

    On Redis it is a list, on RabbitMQ a queue behind an exchange.
    """
    name = f"{settings.queue}.dead"
    if not is_rabbitmq(settings):
        return Queue(name, Exchange("", type="direct"), routing_key=name)
    exchange = Exchange(f"{settings.queue}.dlx", type="fanout", durable=True)
    arguments = {"x-queue-type": settings.rabbitmq_queue_type}
    return Queue(name, exchange, routing_key="", durable=True, queue_arguments=arguments)
