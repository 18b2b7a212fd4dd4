"""RabbitMQ's publisher confirms, many outstanding at a time: to wait for each would be a round trip a message.

https://www.rabbitmq.com/docs/confirms#publisher-confirms
"""

from collections.abc import Callable
from typing import Any

from amqp.exceptions import MessageNacked

WINDOW = 500  # messages that may be unconfirmed


class Confirms:
    """Counts what one channel publishes, and waits until the broker has taken charge of all of it.

    Args:
        channel: of py-amqp, in use by nobody else; its `basic_publish` is replaced.
        timeout: seconds of silence after which the broker is taken for lost.
        on_return: told of a message that no queue takes, as py-amqp tells it; without, that is an error.
    """

    def __init__(self, channel: Any, timeout: float, on_return: Callable[..., None] | None = None) -> None:
        self._channel = channel
        self._timeout = timeout
        self._published = 0  # RabbitMQ numbers messages from 1 in the order of their publishing
        self._open: set[int] = set()
        self._error: Exception | None = None
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(on_return or self._on_return)
        self._basic_publish = channel.basic_publish
        channel.basic_publish = self._publish

    def wait(self, until: int = 0) -> None:
        """Wait until no more than so many messages are unconfirmed.

        Raises:
            TimeoutError, amqp.exceptions.AMQPError: the broker refused a message, returned it, or fell silent.
        """
        while len(self._open) > until and self._error is None:
            self._channel.connection.drain_events(timeout=self._timeout)
        if self._error is not None:
            raise self._error

    def _publish(self, *arguments: Any, **options: Any) -> None:
        if len(self._open) >= WINDOW:
            self.wait(WINDOW // 2)
        self._basic_publish(*arguments, **options)
        self._published += 1
        self._open.add(self._published)

    def _on_ack(self, number: int, multiple: bool) -> None:
        if multiple:
            self._open = {one for one in self._open if one > number}
        else:
            self._open.discard(number)

    def _on_nack(self, number: int, multiple: bool) -> None:
        self._error = MessageNacked(f"message {number}{' and those before it' if multiple else ''}")

    def _on_return(self, error: Exception, *_: Any) -> None:
        self._error = error
