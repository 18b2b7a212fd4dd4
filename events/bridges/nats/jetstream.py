"""NATS JetStream: `nats+jetstream://host:4222`, for TLS `nats+tls+jetstream://`. At least once, both ways.

Events go to the subject `events.{EventName}`, with the event's id as `Nats-Msg-Id`, by which the server drops repeats
within its window. The stream (`?stream=`, by default the prefix) is made if it is missing, and keeps about `?maxlen=`
messages, 1,000,000 by default. Inbound is a durable pull consumer, named after the group.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from events.bridges.address import Address
from events.bridges.contract import AT_ONCE, Features, Message, Received, Scheme
from events.bridges.nats import stream
from events.bridges.nats.acks import Acks, NoStream
from events.bridges.nats.arrivals import Arrivals
from events.bridges.nats.client import ATTRIBUTES, Line, check, headers_of, subject
from events.errors import PartlySent, TransportError, Unsendable

_REQUEST_LASTS = 20.0  # seconds that the server keeps a request for messages open
_HEARTBEAT = 4.0  # seconds, at most, between the server's heartbeats; it allows a third of the request's time
_HEARTBEATS_MISSED = 2.5  # heartbeats after which the request counts as lost
_ACK = "$JS.ACK."  # the beginning of the reply subject of a stream's messages
_OVER = ("404", "408")  # statuses by which a request ends in order
_OVER_TOO = ("batch completed", "message size exceeds maxbytes")  # descriptions of 409 that mean the same
_ALIVE = "100"  # the status of a heartbeat


class Bridge:
    """Keeps the contract of events.bridges.Bridge."""

    features: ClassVar[Features] = Features()
    schemes: ClassVar[Mapping[str, Scheme]] = {
        "nats+jetstream": Scheme("nats", 4222),
        "nats+tls+jetstream": Scheme("nats", 4222, tls=True),
    }
    options: ClassVar[frozenset[str]] = frozenset({"stream", "maxlen"})
    attribute_prefix: ClassVar[str] = ATTRIBUTES

    def __init__(self, address: Address) -> None:
        check(address)
        stream.check(address)
        self._address = address

    def address(self, event_type: str) -> str:
        return subject(self._address.prefix, event_type)

    def bindings(self, _event_type: str) -> Mapping[str, Any]:
        return {}

    def publisher(self) -> "Publisher":
        return Publisher(self._address)

    def subscriber(self, _wanted: Callable[[], Collection[str]]) -> "Subscriber":
        return Subscriber(self._address)


class Publisher:
    """Sends a batch, then waits until the stream has acknowledged each message."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._line = Line(address, self._prepare)
        self._acks: Acks | None = None
        self._stream_is_gone = False

    def send(self, messages: Sequence[Message]) -> None:
        async def publish(client: Client) -> list[asyncio.Future[None]]:
            acks = self._acks
            assert acks is not None
            if self._stream_is_gone:
                await stream.make_stream(client, self._address)
                self._stream_is_gone = False
            answers = []
            for message, headers in zip(messages, headers_of(client, messages), strict=True):
                if message.event_id:
                    headers["Nats-Msg-Id"] = message.event_id
                target = subject(self._address.prefix, message.event_type)
                answers.append(await acks.publish(target, message.body, headers))
            if answers:
                await asyncio.wait(answers, timeout=self._address.timeout)
            answered = any(answer.done() for answer in answers)
            for answer in answers:
                answer.cancel()  # changes only answers that have not come
            if answers and not answered:
                raise TimeoutError(f"the stream acknowledged nothing within {self._address.timeout:g} s")
            return answers

        with self._line.listening() as complaints:
            answers = self._line.run("send to", publish)
        failed = {
            message.event_id: error
            for message, answer in zip(messages, answers, strict=True)
            if (error := self._error(message, answer, complaints)) is not None
        }
        if failed:
            raise PartlySent(failed)

    def close(self) -> None:
        self._line.close()

    async def _prepare(self, client: Client) -> None:
        await stream.make_stream(client, self._address)
        self._acks = Acks(client)
        await self._acks.subscribe()

    def _error(self, message: Message, answer: "asyncio.Future[None]", complaints: list[str]) -> TransportError | None:
        if answer.cancelled():
            late = f"not acknowledged within {self._address.timeout:g} s"
            error: BaseException | None = TransportError("; ".join([late, *dict.fromkeys(complaints)]))
        else:
            error = answer.exception()
            self._stream_is_gone = self._stream_is_gone or isinstance(error, NoStream)
        if error is None:
            return None
        kind = Unsendable if isinstance(error, Unsendable) else TransportError
        return kind(f"can't send {message.event_type} to {self._line.where}: {error}")


class Subscriber:
    """Asks the consumer for a batch, and for the next batch when all messages have come."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._line = Line(address, self._prepare)
        self._arrivals = Arrivals(address.prefix, most=None)
        self._next, self._inbox = "", ""
        self._asked_for, self._heard = 0, 0.0
        self._refused = ""

    def receive(self, timeout: float) -> Sequence[Received]:
        if self._refused:
            self._give_up()
        self._line.run("receive from", self._ask)
        received = []
        for message in self._arrivals.take(timeout):
            if message.reply.startswith(_ACK):
                self._asked_for, self._heard = self._asked_for - 1, time.monotonic()
                metadata = message.metadata
                position = f"{metadata.stream} {metadata.sequence.stream} {metadata.timestamp.isoformat()}"
                received.append(self._arrivals.received(message, position, message))
            elif message.subject == self._inbox:  # else the message is of a connection that is gone
                self._note_status(message)
        if not received and self._refused:
            self._give_up()
        silent = time.monotonic() - self._heard
        if not received and self._asked_for > 0 and silent > _HEARTBEATS_MISSED * self._heartbeat:
            self._refused = f"not a word about our request for {silent:.0f} s"
            self._give_up()
        return received

    def acknowledge(self, received: Sequence[Received]) -> None:
        async def acknowledge(client: Client) -> int:
            gone = 0
            for message in received:
                try:
                    await message.token.ack()
                except nats.errors.ConnectionClosedError:
                    gone += 1
            await client.flush(max(1, round(self._address.timeout)))
            return gone

        # On a new connection the same numbers may mean other messages, if the stream was made anew.
        if gone := self._line.run("acknowledge to", acknowledge):
            raise TransportError(f"the connection to {self._line.where} of {gone} messages is gone: they come again")

    def close(self) -> None:
        left = [message for message in self._arrivals.take(0) if message.reply.startswith(_ACK)]

        async def give_back(client: Client) -> None:
            for message in left:
                await message.nak()
            await client.flush(max(1, round(self._address.timeout)))

        with contextlib.suppress(Exception):
            if left:
                self._line.run("give back to", give_back)
        self._line.close()

    async def _prepare(self, client: Client) -> None:
        name = await stream.make_stream(client, self._address)
        await stream.make_consumer(client, self._address, name)
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{name}.{self._address.group}"
        self._inbox, self._asked_for, self._refused = client.new_inbox(), 0, ""
        await client.subscribe(self._inbox, cb=self._arrivals.put)

    async def _ask(self, client: Client) -> None:
        """Ask for a batch. nats-py's own `fetch` would wait for a full batch, even if a message is there."""
        if self._asked_for > 0:
            return
        request = {
            "batch": AT_ONCE,
            "expires": int(_REQUEST_LASTS * 1e9),
            "idle_heartbeat": int(self._heartbeat * 1e9),
        }
        await client.publish(self._next, json.dumps(request).encode(), self._inbox)
        self._asked_for, self._heard = AT_ONCE, time.monotonic()

    @property
    def _heartbeat(self) -> float:
        return min(_HEARTBEAT, self._address.timeout)

    def _note_status(self, message: Msg) -> None:
        """Note the status of our request, which the server has sent."""
        headers = {str(getattr(name, "value", name)): value for name, value in (message.headers or {}).items()}
        status, why = headers.get("Status", ""), headers.get("Description", "")
        self._heard = time.monotonic()
        if status == _ALIVE:
            return
        self._asked_for = 0
        if status not in _OVER and why.lower() not in _OVER_TOO:
            self._refused = f"{status} {why}".strip() or "an answer without words"

    def _give_up(self) -> NoReturn:
        """Drop the connection: the consumer is gone, or refuses. A new connection looks for it, or makes it. Raises."""
        why, self._refused = self._refused, ""
        self._line.drop()
        raise TransportError(f"can't receive from {self._line.where}, consumer {self._address.group!r}: {why}")
