"""Receives the acknowledgements of a stream, by one subscription for the life of a connection.

nats-py can do that, too, but it drops the errors that the server answers, and each of its contexts subscribes anew.
"""

import asyncio
import itertools
import json
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from events.errors import TransportError, Unsendable

_TOO_LARGE = 10054  # JetStream's number for a message that is larger than its stream takes
_NOBODY = "503"  # the status of the answer if no stream has the subject


class NoStream(Exception):
    """No stream has the subject; perhaps it was deleted."""


class Acks:
    """The acknowledgements on one connection; used on the event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def subscribe(self) -> None:
        await self._client.subscribe(f"{self._inbox}.*", cb=self._arrived)

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> "asyncio.Future[None]":
        """Publish a message. The future is done when the stream has it, or fails with TransportError or Unsendable."""
        reply = f"{self._inbox}.{next(self._numbers)}"
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda _: self._waiting.pop(reply, None))
        self._waiting[reply] = answer
        try:
            await self._client.publish(subject, body, reply=reply, headers=headers)
        except BaseException:
            answer.cancel()
            raise
        return answer

    async def _arrived(self, message: Msg) -> None:
        answer = self._waiting.get(message.subject)
        if answer is None or answer.done():
            return
        if (message.headers or {}).get("Status") == _NOBODY:
            answer.set_exception(NoStream("no stream has this subject"))
        elif (error := _error(message.data)) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(None)


def _error(answer: bytes) -> TransportError | None:
    """The error that an answer says; None if the answer says that the message is in a stream."""
    try:
        said: Any = json.loads(answer)
        error = said.get("error")
        if error is None and said["stream"] and said["seq"] > 0:
            return None
        text = f"{error['description']} (JetStream's error {error.get('err_code', error.get('code'))})"
        return (Unsendable if error.get("err_code") == _TOO_LARGE else TransportError)(text)
    except (ValueError, LookupError, TypeError, AttributeError):
        return TransportError(f"somebody else than a stream answered: {answer[:100]!r}")
