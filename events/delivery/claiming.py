"""Claims deliveries for one process, so that none is lost if the database commits a claim and its answer is lost."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from events.ledger import Claim, Inbox


class Claiming:
    """Claims for one process. Threads may share it. `worker`: a name that no other process has."""

    def __init__(self, inbox: Inbox, worker: str, lease: timedelta) -> None:
        self._inbox = inbox
        self._worker = worker
        self._lease = lease
        self._lock = threading.Lock()
        self._in_hand: set[tuple[UUID, str, int]] = set()

    @contextmanager
    def in_hand(self, handler: str, tokens: Mapping[UUID, int]) -> Iterator[dict[UUID, int]]:
        """Those of the deliveries that no other thread of this process has in hand. They are ours while the block runs.

        Args:
            tokens: the tokens of the deliveries, by event id.
        """
        with self._lock:
            ours = {
                event_id: token for event_id, token in tokens.items() if (event_id, handler, token) not in self._in_hand
            }
            keys = {(event_id, handler, token) for event_id, token in ours.items()}
            self._in_hand |= keys
        try:
            yield ours
        finally:
            with self._lock:
                self._in_hand -= keys

    def along(self, claims: Sequence[Claim], most: int) -> list[Claim]:
        """Up to `most` further deliveries of the same handler. They are in hand until `let_go`."""
        taken = self._inbox.take_along(claims, most, self._worker, self._lease)
        with self._lock:
            self._in_hand |= {(claim.envelope.id, claim.handler, claim.token) for claim in taken}
        return taken

    def let_go(self, claims: Iterable[Claim]) -> None:
        """These deliveries have ended."""
        with self._lock:
            self._in_hand -= {(claim.envelope.id, claim.handler, claim.token) for claim in claims}

    def of(self, handler: str, tokens: Mapping[UUID, int], *, each: bool = False) -> Callable[[], list[Claim]]:
        """A function that claims these deliveries, which must be in hand. It may be called again after an error.

        A call that failed may have claimed deliveries all the same. The next call hands those back: they are sent again
        soon. `each`: see events.ledger.Inbox.
        """
        in_doubt = False

        def claim() -> list[Claim]:
            nonlocal in_doubt
            if in_doubt:
                self._inbox.take_back(handler, tokens, self._worker)
            in_doubt = True
            return self._inbox.claim(handler, tokens, self._worker, self._lease, each=each)

        return claim
