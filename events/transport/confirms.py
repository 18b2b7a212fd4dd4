"""RabbitMQ's publisher confirms, many of them outstanding: waiting for each would cost a round trip for each message.

https://www.rabbitmq.com/docs/confirms#publisher-confirms
"""

from collections.abc import Callable
from typing import Any

from amqp.exceptions import MessageNacked

WINDOW = 500  # messages that may be unconfirmed at a time


class Confirms:
    """Counts the messages that a channel publishes, and waits until the broker has taken charge of all of them.

    Args:
        channel: a channel of py-amqp for these confirms alone; every message on it is published by `publish`.
        timeout: seconds of silence after which the broker counts as lost.
        on_return: py-amqp calls it with a message that no queue takes; if None, such a message is an error.
        on_nack: called with the number of a message that the broker refuses; if None, such a message is an error.

    Attributes:
        published: the number of messages published; RabbitMQ numbers them from 1 in this order.
    """

    def __init__(
        self,
        channel: Any,
        timeout: float,
        on_return: Callable[..., None] | None = None,
        on_nack: Callable[[int], None] | None = None,
    ) -> None:
        self._channel = channel
        self._timeout = timeout
        self.published = 0
        self._open: set[int] = set()
        self._error: Exception | None = None
        self._told_nack = on_nack
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(on_return or self._on_return)

    def publish(self, send: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Call `send` with the arguments; `send` publishes one message on this channel.

        Raises:
            TimeoutError, AMQPError, MessageNacked (of amqp.exceptions): as `wait`, if WINDOW messages are unconfirmed.
        """
        if len(self._open) >= WINDOW:
            self.wait(WINDOW // 2)
        send(*arguments, **options)
        self.published += 1
        self._open.add(self.published)

    def wait(self, until: int = 0) -> None:
        """Wait until at most `until` messages are unconfirmed.

        Raises:
            TimeoutError, AMQPError, MessageNacked (of amqp.exceptions): the broker refused a message, returned it, or
                fell silent.
        """
        while len(self._open) > until and self._error is None:
            self._channel.connection.drain_events(timeout=self._timeout)
        if self._error is not None:
            raise self._error

    def _on_ack(self, number: int, multiple: bool) -> None:
        self._open -= self._numbers(number, multiple)

    def _on_nack(self, number: int, multiple: bool) -> None:
        if self._told_nack is None:
            self._error = MessageNacked(f"message {number}{' and those before it' if multiple else ''}")
            return
        refused = self._numbers(number, multiple)
        self._open -= refused
        for refused_number in sorted(refused):
            self._told_nack(refused_number)

    def _numbers(self, last: int, multiple: bool) -> set[int]:
        """The messages that an answer of the broker is about. `multiple`: all unconfirmed messages up to `last`."""
        return {number for number in self._open if number <= last} if multiple else {last}

    def _on_return(self, error: Exception, *_: Any) -> None:
        self._error = error
