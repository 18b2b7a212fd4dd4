"""Hands messages of a NATS subscription from the client's thread to the thread that receives."""

import contextlib
import logging
import queue
import threading
from typing import Any

from nats.aio.msg import Msg

from events.bridges.contract import AT_ONCE, Received, unquoted_value
from events.throttle import Throttle

log = logging.getLogger("events.bridges")

_KEPT, _KEPT_BYTES = 100_000, 64 * 2**20  # limits for the messages that wait in memory


class Arrivals:
    """Messages that wait to be received.

    Args:
        prefix: the beginning of subjects, before the event type.
        most: the largest number of bytes that may wait; more messages are lost. None for a consumer that sends only the
            messages it is asked for.
    """

    def __init__(self, prefix: str, most: int | None = _KEPT_BYTES) -> None:
        self._prefix = prefix
        self._most = most
        self._bytes = 0
        self._lock = threading.Lock()
        self._queue: queue.Queue[Msg] = queue.Queue(_KEPT)
        self._throttle = Throttle(log)

    async def put(self, message: Msg) -> None:
        """The callback of a subscription."""
        size = len(message.data)
        with self._lock:
            fits = self._most is None or self._bytes + size <= self._most or self._queue.empty()
            try:
                if not fits:
                    raise queue.Full
                self._queue.put_nowait(message)
                self._bytes += size
            except queue.Full:
                self._throttle.warn(
                    f"subscriber of {self._prefix}.> is too slow: {self._queue.qsize():,} messages with "
                    f"{self._bytes:,} bytes wait, others are lost"
                )

    def take(self, timeout: float) -> list[Msg]:
        """The messages that are there, AT_ONCE at most. Waits `timeout` seconds for the first."""
        messages: list[Msg] = []
        with contextlib.suppress(queue.Empty):
            messages.append(self._queue.get(timeout=timeout))
            while len(messages) < AT_ONCE:
                messages.append(self._queue.get_nowait())
        with self._lock:
            self._bytes -= sum(len(message.data) for message in messages)
        return messages

    def received(self, message: Msg, position: str = "", token: Any = None) -> Received:
        headers = {name.lower(): unquoted_value(value) for name, value in (message.headers or {}).items()}
        kind = unquoted_value(message.subject.removeprefix(f"{self._prefix}."))
        return Received(message.data, headers, message.subject, position, kind, token)
