"""No broker: a kombu transport within one process. The relay thread puts wake-ups, the worker's event loop takes them.

Unlike kombu's own memory transport it works with an event loop, without which Celery's prefork pool hangs at its end.
Wake-ups in memory die with the process; the ledger knows them, and another worker gets them.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty
from typing import Any

from kombu import Connection
from kombu.transport import TRANSPORT_ALIASES, virtual

from events.errors import TransportError
from events.ledger import DeadLetter, Group, Parked
from events.relay import TransportFeatures
from events.self_pipe import SelfPipe
from events.transport.message import group_of, wakeup_message

_queues: defaultdict[str, deque[Any]] = defaultdict(deque)
_held: dict[Group, None] = {}  # groups that were sent and not acknowledged, the oldest first
_wake_pipes: set[SelfPipe] = set()
_on_room: list[Callable[[], None]] = []
_on_done: list[Callable[[Group], None]] = []


def _wake() -> None:
    for pipe in tuple(_wake_pipes):
        pipe.wake()


class Channel(virtual.Channel):  # type: ignore[misc]
    """The queues of this process. Kombu calls these methods."""

    do_restore = False

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        _queues[queue].append(message)
        _wake()

    def _get(self, queue: str, **_: Any) -> Any:
        if not _queues[queue]:
            raise Empty
        return _queues[queue].popleft()

    def _size(self, queue: str) -> int:
        return len(_queues[queue])

    def _purge(self, queue: str) -> int:
        size = len(_queues[queue])
        _queues[queue].clear()
        return size

    def _new_queue(self, queue: str, **_: Any) -> None:
        _queues[queue]  # a defaultdict makes the queue when it is read

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return queue in _queues

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        _queues.pop(queue, None)

    def basic_consume(self, *arguments: Any, **options: Any) -> Any:
        tag = super().basic_consume(*arguments, **options)
        _wake()
        return tag

    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:
        self._let_go(delivery_tag)
        super().basic_ack(delivery_tag, multiple)
        _wake()
        for call in _on_room:
            call()

    def basic_reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        if not requeue:
            self._let_go(delivery_tag)
        super().basic_reject(delivery_tag, requeue)
        _wake()

    def deliver_waiting(self) -> None:
        """Hand waiting messages to consumers, up to their prefetch limit."""
        while self.qos.can_consume() and any(_queues[queue] for queue in self._active_queues):
            self.drain_events()

    def _let_go(self, delivery_tag: Any) -> None:
        with suppress(KeyError):
            group = group_of(self.qos.get(delivery_tag).headers)
            _held.pop(group, None)
            for call in _on_done:
                call(group)


class KombuMemory(virtual.Transport):  # type: ignore[misc]
    """The transport behind `ledger://`."""

    Channel = Channel
    driver_type = driver_name = "ledger"
    implements = virtual.Transport.implements.extend(asynchronous=True)
    can_parse_url = True  # so that kombu doesn't look for a host in the URL

    def driver_version(self) -> str:
        return "1"

    def as_uri(self, *_: Any) -> str:
        """The name of the broker that Celery and Flower show."""
        return "the ledger (no broker)"

    def register_with_event_loop(self, _: Any, loop: Any) -> None:
        self._forget_loop()
        self._loop = loop
        self._pipe = SelfPipe()
        _wake_pipes.add(self._pipe)
        loop.add_reader(self._pipe.reader, self._deliver_all)
        _wake()  # for messages that came before the loop

    def close_connection(self, connection: Any) -> None:
        self._forget_loop()
        super().close_connection(connection)

    def _deliver_all(self) -> None:
        self._pipe.clear()
        for channel in list(self.channels):
            if not channel.closed:
                channel.deliver_waiting()

    def _forget_loop(self) -> None:
        if getattr(self, "_loop", None) is not None:
            self._loop.remove(self._pipe.reader)
            _wake_pipes.discard(self._pipe)
            self._pipe.close()
            self._loop = None


TRANSPORT_ALIASES["ledger"] = f"{__name__}:{KombuMemory.__name__}"


class MemoryTransport:
    """Keeps the contract of events.relay.Transport, within this process."""

    URL = "ledger://"
    name = "memory"
    features = TransportFeatures(holds_itself=True)

    def __init__(self) -> None:
        self._connection: Connection | None = None

    def on_room(self, call: Callable[[], None]) -> None:
        """Call this whenever a message was acknowledged, which makes room for another. Replaces an earlier call."""
        _on_room[:] = [call]

    def on_done(self, call: Callable[[Group], None]) -> None:
        """Call this whenever a group's message was acknowledged. Replaces an earlier call."""
        _on_done[:] = [call]

    def send(self, groups: Sequence[Group]) -> None:
        if self._connection is None:
            self._connection = Connection(self.URL)
        with self._connection.Producer(auto_declare=False) as producer:
            for group in groups:
                message = wakeup_message(group)
                _held[group] = None
                producer.publish(
                    message.body,
                    exchange="",
                    routing_key=group[0].queue,
                    content_type="application/json",
                    content_encoding="utf-8",
                    headers=message.headers,
                    correlation_id=message.correlation_id,
                )

    def send_dead(self, letters: Sequence[DeadLetter]) -> None:
        raise NotImplementedError(f"there is no broker to copy {len(letters)} dead letters to")

    def send_parked(self, message: Parked) -> None:
        raise TransportError(f"no broker to put message {message.id} on: set EVENTS_BROKER_URL to the one it came from")

    def waiting(self, queue: str) -> int:
        return len(_queues[queue])

    def held(self) -> Sequence[Group]:
        return tuple(_held)

    def forget(self) -> Sequence[Group]:
        """Drop all groups that are held. Returns them, as no worker will get them."""
        dropped = tuple(_held)
        _held.clear()
        for queue in _queues.values():
            queue.clear()
        return dropped

    def close(self) -> None:
        if self._connection is not None:
            self._connection.release()
            self._connection = None
