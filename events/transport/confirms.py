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
        channel: of py-amqp, in use by nobody else; all that is published on it goes by `publish`.
        timeout: seconds of silence after which the broker is taken for lost.
        on_return: told of a message that no queue takes, as py-amqp tells it; without, that is an error.
        on_nack: told the number of a message that the broker refuses; without, that is an error.

    Attributes:
        published: so many messages; RabbitMQ numbers them from 1 in the order of their publishing.
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
        """Call `send` with what else is given; it publishes one message on this channel.

        Raises:
            TimeoutError, AMQPError, MessageNacked (of amqp.exceptions): as `wait` does, where WINDOW messages are out.
        """
        if len(self._open) >= WINDOW:
            self.wait(WINDOW // 2)
        send(*arguments, **options)
        self.published += 1
        self._open.add(self.published)

    def wait(self, until: int = 0) -> None:
        """Wait until no more than so many messages are unconfirmed.

        Raises:
            TimeoutError, AMQPError, MessageNacked (of amqp.exceptions): the broker refused a message, returned it, or
                fell silent.
        """
        while len(self._open) > until and self._error is None:
            self._channel.connection.drain_events(timeout=self._timeout)
        if self._error is not None:
            raise self._error

    def _on_ack(self, number: int, multiple: bool) -> None:
        self._open -= self._meant(number, multiple)

    def _on_nack(self, number: int, multiple: bool) -> None:
        if self._told_nack is None:
            self._error = MessageNacked(f"message {number}{' and those before it' if multiple else ''}")
            return
        refused = self._meant(number, multiple)
        self._open -= refused
        for one in sorted(refused):
            self._told_nack(one)

    def _meant(self, number: int, multiple: bool) -> set[int]:
        return {one for one in self._open if one <= number} if multiple else {number}

    def _on_return(self, error: Exception, *_: Any) -> None:
        self._error = error
