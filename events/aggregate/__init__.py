"""Aggregates record events while they change, and hand them over when they are saved.

    class Library(Base, AggregateRoot):
        def add(self, card): ...; self.record(CardAddedToLibraryEvent(...))

    with Session.begin() as session:
        session.add(library)          # the flush that writes the library publishes its events, in the same transaction
        library.add(card)

For aggregates that are no ORM objects a repository calls `events.publish_recorded(aggregate, session=...)`.

To import this folder lets every SQLAlchemy Session of the process publish what its aggregates recorded. `import events`
does not import it; `from events import AggregateRoot` does.

May import: publishing and the words below. Open first: `recording`, then `saving`.
"""

from events.aggregate.recording import AggregateRoot
from events.aggregate.saving import publish_recorded

__all__ = ["AggregateRoot", "publish_recorded"]
