"""Takes deliveries for one process, so that none is lost if the database commits a claim and can't say so any more."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from events.ledger import Claim, Inbox


class Claiming:
    """`worker` is the name of this process alone. Any thread may use it."""

    def __init__(self, inbox: Inbox, worker: str, lease: timedelta) -> None:
        self._inbox = inbox
        self._worker = worker
        self._lease = lease
        self._lock = threading.Lock()
        self._in_hand: set[tuple[UUID, str, int]] = set()

    @contextmanager
    def in_hand(self, handler: str, tokens: Mapping[UUID, int]) -> Iterator[dict[UUID, int]]:
        """Those of these deliveries that no other thread of this process has in hand; they are ours until the end."""
        with self._lock:
            ours = {one: token for one, token in tokens.items() if (one, handler, token) not in self._in_hand}
            keys = {(one, handler, token) for one, token in ours.items()}
            self._in_hand |= keys
        try:
            yield ours
        finally:
            with self._lock:
                self._in_hand -= keys

    def of(self, handler: str, tokens: Mapping[UUID, int]) -> Callable[[], list[Claim]]:
        """What claims them, to be called again after an error. They must be in hand.

        A call that failed may have claimed them all the same. Those are handed back, and sent again soon.
        """
        in_doubt = False

        def claim() -> list[Claim]:
            nonlocal in_doubt
            if in_doubt:
                self._inbox.take_back(handler, tokens, self._worker)
            in_doubt = True
            return self._inbox.claim(handler, tokens, self._worker, self._lease)

        return claim
