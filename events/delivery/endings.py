"""What handlers leave to be told how their transaction ended: sessions, and code of frameworks."""

from events.delivery.guests import Waiting


class Endings:
    """What waits for the end of the transactions of one block, at whose end it is told.

    Attributes:
        committed: whether the transaction was committed. The block sets it.
    """

    def __init__(self) -> None:
        self.committed = False
        self._waiting: list[Waiting] = []

    def __enter__(self) -> "Endings":
        return self

    def __exit__(self, *_: object) -> None:
        self._end(committed=self.committed)

    def add(self, waiting: Waiting | None) -> None:
        if waiting is not None:
            self._waiting.append(waiting)

    def undone(self) -> None:
        """The transaction was rolled back, and another one follows in the same block."""
        self._end(committed=False)

    def _end(self, *, committed: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.over(committed=committed)
