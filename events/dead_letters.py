"""Dead letters: deliveries that were given up. Look at them, replay them, discard them."""

from collections.abc import Collection
from uuid import UUID

from events.errors import EventsError
from events.ports import DeadLetterBox
from events.records import DeadLetter, DeadLetterFilter


class NoSuchDeadLetter(EventsError):
    """Nothing dead matches."""


class DeadLetters:
    """What an operator does with dead letters, whatever the face: command line, web page or code."""

    def __init__(self, box: DeadLetterBox) -> None:
        self._box = box

    def find(
        self, *, handler: str | None = None, event_type: str | None = None, limit: int | None = 50
    ) -> list[DeadLetter]:
        """Newest first."""
        return self._box.find(DeadLetterFilter(handler=handler, event_type=event_type, limit=limit))

    def count(self, *, handler: str | None = None, event_type: str | None = None) -> int:
        return self._box.count(DeadLetterFilter(handler=handler, event_type=event_type))

    def show(self, event_id: UUID, handler: str | None = None) -> list[DeadLetter]:
        """The dead letters of one event, of all its handlers or one. Raises NoSuchDeadLetter."""
        found = self._box.find(DeadLetterFilter(event_ids=(event_id,), handler=handler))
        if not found:
            of = f" of handler {handler!r}" if handler else ""
            raise NoSuchDeadLetter(f"event {event_id} has no dead letter{of}; `events dead list` shows what there is")
        return found

    def replay(
        self, event_ids: Collection[UUID] = (), *, handler: str | None = None, event_type: str | None = None
    ) -> int:
        """Make them due again with all their attempts; how many. What is no longer dead is left alone."""
        return self._box.replay(DeadLetterFilter(event_ids=event_ids, handler=handler, event_type=event_type))

    def discard(
        self, event_ids: Collection[UUID] = (), *, handler: str | None = None, event_type: str | None = None
    ) -> int:
        """Give them up for good; how many. The rows stay, in state `discarded`."""
        return self._box.discard(DeadLetterFilter(event_ids=event_ids, handler=handler, event_type=event_type))
