"""A connection of kombu's that gives up in time: by default it would try for ever, and wait for ever for an answer.

Workers have Celery's own connections; these are of relays, of whoever looks after a queue, and of `events doctor`.
"""

from kombu import Connection

from events.settings import Settings
from events.transport.topology import is_rabbitmq


def connect(settings: Settings, timeout: float, *, read_timeout: float | None = None) -> Connection:
    """A connection to the broker of these settings, tried twice at most.

    Args:
        timeout: seconds for connecting, and for each answer.
        read_timeout: seconds for each answer of RabbitMQ, where they aren't `timeout`.
    Raises:
        kombu.exceptions.OperationalError: the broker is away, or refuses us.
    """
    options = (
        {"read_timeout": read_timeout or timeout, "write_timeout": timeout, "max_retries": 1}
        if is_rabbitmq(settings)
        else {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry_on_timeout": False}
    )
    connection = Connection(settings.broker_url, connect_timeout=timeout, transport_options=options)
    connection.ensure_connection(max_retries=1, interval_start=0, timeout=timeout)
    return connection
