"""Connects to the broker by kombu, within a time limit: by default kombu tries, and waits for an answer, for ever.

Workers have Celery's own connections. These connections are for relays, for `revival`, and for `events doctor`.
"""

from kombu import Connection

from events.settings import Settings
from events.transport.topology import is_rabbitmq


def connect(settings: Settings, timeout: float, *, read_timeout: float | None = None) -> Connection:
    """A connection to the broker of these settings, tried twice at most.

    Args:
        timeout: seconds to wait for the connection, and for each answer.
        read_timeout: seconds to wait for each answer of RabbitMQ; by default `timeout`.
    Raises:
        kombu.exceptions.OperationalError: the broker is away, or refuses the connection.
    """
    options = (
        {"read_timeout": read_timeout or timeout, "write_timeout": timeout, "max_retries": 1}
        if is_rabbitmq(settings)
        else {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry_on_timeout": False}
    )
    connection = Connection(settings.broker_url, connect_timeout=timeout, transport_options=options)
    connection.ensure_connection(max_retries=1, interval_start=0, timeout=timeout)
    return connection
