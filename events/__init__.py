"""Domain events that are never lost: published in your transaction, handled as Celery tasks.

An *event* is a fact, a frozen pydantic model:

    class CardAddedToLibraryEvent(DomainEvent, aggregate_id="library_id"):
        library_id: UUID
        title: str

A *handler* reacts to it, in a database transaction of its own. Each runs as a Celery task named after it:

    @handles(CardAddedToLibraryEvent, retry=Retry(max_attempts=5))
    def add_to_feed(event: CardAddedToLibraryEvent, session: Session) -> None:
        session.add(FeedItem(library_id=event.library_id, title=event.title))

*Publish* it where it happens, inside the transaction that makes it true:

    with Session.begin() as session:
        session.add(card)
        publish(CardAddedToLibraryEvent(library_id=..., title=...), session=session)

*Tell others* by integration events, the public contract. A *translator* makes them, or domain events of what comes in:

    class CardAdded(IntegrationEvent, name="library.card-added.v1"):
        title: str

    @translates(CardAddedToLibraryEvent)
    def tell_others(event: CardAddedToLibraryEvent) -> CardAdded:
        return CardAdded(title=event.title)

*Run* `events migrate` once and `celery -A events worker` anywhere. If the transaction commits, every handler runs
to success, or ends as a dead letter that `events dead list` shows and `events dead replay` runs again.
"""

from typing import TYPE_CHECKING

from events.current_pipeline import get_engine, metrics
from events.definition import uuid7
from events.errors import (
    ConfigurationError,
    DefinitionError,
    EventDataError,
    EventIdTaken,
    EventsError,
    PayloadTooLarge,
    PublishError,
    SchemaError,
)
from events.event import DomainEvent, Metadata
from events.handling import Attempt, Delivery, around_handlers, handles, on_attempt, provides, translates
from events.integration import IntegrationEvent
from events.ledger import EventMetrics
from events.pipeline import on_migrate
from events.publishing import publish, publish_async, transaction
from events.retry import Retry, RetryAfter, hours, minutes, seconds

__all__ = [  # noqa: RUF022 - grouped by idea, in the order one meets them
    # events
    "DomainEvent",
    "Metadata",
    "AggregateRoot",
    "uuid7",
    # publishing
    "publish",
    "publish_async",
    "publish_recorded",
    # handlers
    "handles",
    "provides",
    "Delivery",
    "Retry",
    "RetryAfter",
    "seconds",
    "minutes",
    "hours",
    # what hears of them
    "around_handlers",
    "on_attempt",
    "Attempt",
    # the public contract
    "IntegrationEvent",
    "translates",
    # an application's own Celery app
    "install",
    "outbox",
    "transaction",
    "transactional",
    "TransactionalTask",
    # operating
    "metrics",
    "EventMetrics",
    # the database
    "get_engine",
    "on_migrate",
    # errors
    "EventsError",
    "ConfigurationError",
    "SchemaError",
    "DefinitionError",
    "PublishError",
    "PayloadTooLarge",
    "EventIdTaken",
    "EventDataError",
]

if TYPE_CHECKING:
    from events.aggregate import AggregateRoot, publish_recorded
    from events.worker import TransactionalTask, install, outbox, transactional

    __version__: str
else:  # unseen by type checkers, which would take any name for one of ours

    def __getattr__(name: str) -> object:
        """`__version__`; the names of events.aggregate, which changes SQLAlchemy's sessions when it is imported; and
        those of events.worker, which are of use to programs with Celery alone."""
        if name == "__version__":
            from events.release import own_version

            return own_version()
        if name in ("AggregateRoot", "publish_recorded"):
            from events import aggregate

            return getattr(aggregate, name)
        if name in ("install", "outbox", "transactional", "TransactionalTask"):
            from events import worker

            return getattr(worker, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
