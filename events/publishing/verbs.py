"""The functions that applications call: publish() and publish_async()."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from events.event import DomainEvent
from events.publishing.current import given
from events.publishing.joining import running
from events.publishing.publisher import Publisher
from events.publishing.sessions import async_session_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session


def _no_publisher() -> Publisher:
    raise RuntimeError("this process has no publisher yet: import events.pipeline, which provides it")


_provided: Callable[[], Publisher] = _no_publisher


def provide(publisher: Callable[[], Publisher]) -> None:
    """From now on publish() uses the publisher that this function returns. It is called for each publish()."""
    global _provided
    _provided = publisher


def publish(
    events: DomainEvent | Iterable[DomainEvent],
    *,
    session: Session | scoped_session[Any] | Connection | None = None,
    using: str | None = None,
) -> None:
    """Publish one event or several.

    With `session` (a Session, scoped_session or Connection) the events are written at once, in its transaction: they
    share the fate of the rows that are written beside them, in a savepoint for example. Without, they belong to the
    transaction of a `with events.transaction(...)` around, or, inside a handler, to the handler's. Otherwise they are
    durable when this returns. Several events are written in one round trip.
    Publishing an event again that is stored already changes nothing.

    In a Django process with `events.django` they are written in the `transaction.atomic()` that is open on the ledger's
    database. `using`, the alias of that database, says that this is meant.

    Raises:
        EventIdTaken: another event has the same id, as after model_copy(), which keeps the id. No event of the call is
            written.
        PublishError: an argument is no event, or the event can't be stored (PayloadTooLarge if its data is over the
            limit); or `session` is of another type, or in AUTOCOMMIT.
        SchemaError: the database of that transaction has no ledger.
        ConfigurationError: a setting is wrong.
    """
    _provided().publish(events, session=session, using=using)


async def publish_async(
    events: DomainEvent | Iterable[DomainEvent],
    *,
    session: "AsyncSession | async_scoped_session[Any] | AsyncConnection | None" = None,
    using: str | None = None,
) -> None:
    """Publish one event or several, as `publish` does, without blocking the event loop.

    `session` is an AsyncSession, async_scoped_session or AsyncConnection. Without a session, and outside of a handler,
    the events are written in a thread: in a Django process in the one that `sync_to_async` uses.

    Raises:
        PublishError: as in `publish`; or greenlet is missing, which SQLAlchemy's asyncio needs.
        EventIdTaken, SchemaError, ConfigurationError: as in `publish`.
    """
    if session is not None:
        await async_session_of(session).run_sync(lambda sync: publish(events, session=sync, using=using))
    elif given() is not None:
        publish(events, using=using)
    elif (cause := running.get()) is not None:
        await cause.run(lambda: publish(events, using=using))
    elif (surroundings := _provided().surroundings) is not None:
        await surroundings.aside(lambda: publish(events, using=using))
    else:
        await asyncio.to_thread(publish, events, using=using)
