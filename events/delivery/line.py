"""Deliveries in line: one thread takes them one by one, and it or another may send home those that still wait."""

import threading
from collections.abc import Sequence

from events.ledger import Claim


class Line:
    """Claims in line."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self._lock = threading.Lock()
        self._waiting = list(reversed(claims))
        self.left: list[Claim] = []

    def next(self) -> Claim | None:
        with self._lock:
            return self._waiting.pop() if self._waiting else None

    def leave(self) -> list[Claim]:
        with self._lock:
            left, self._waiting = self._waiting, []
            self.left += left
            return left
