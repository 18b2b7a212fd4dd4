"""publish() and publish_async(), as applications call them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from events.event import DomainEvent
from events.publishing.publisher import Publisher, running
from events.publishing.sessions import async_session_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session


def _nobody() -> Publisher:
    raise RuntimeError("nothing publishes here: import events.pipeline, which provides the publisher of this process")


_provided: Callable[[], Publisher] = _nobody


def provide(publisher: Callable[[], Publisher]) -> None:
    """From now on events are published by what this returns; it is asked each time."""
    global _provided
    _provided = publisher


def publish(
    events: DomainEvent | Iterable[DomainEvent], *, session: Session | scoped_session[Any] | Connection | None = None
) -> None:
    """Publish one event or several.

    With `session` (a Session, scoped_session or Connection) they are written in its transaction, at once: what becomes
    of the rows that are written beside them, in a savepoint for example, becomes of the events. Inside
    a handler they join the handler's transaction. Otherwise they are durable when this returns. Several events are
    written in one round trip. Publishing an event again that is stored already changes nothing.

    Raises:
        EventIdTaken: another event has its id, as after model_copy(), which keeps it; nothing of the call is written.
        PublishError: not an event, or one that can't be stored; PayloadTooLarge if its data is over the limit. Or
            `session` is no such thing, or in AUTOCOMMIT.
        SchemaError: the database of that transaction has no ledger.
        ConfigurationError: a setting is wrong.
    """
    _provided().publish(events, session=session)


async def publish_async(
    events: DomainEvent | Iterable[DomainEvent],
    *,
    session: "AsyncSession | async_scoped_session[Any] | AsyncConnection | None" = None,
) -> None:
    """`publish` for asyncio: `session` is an AsyncSession, async_scoped_session or AsyncConnection.

    Alone it runs in a thread.
    """
    if session is not None:
        await async_session_of(session).run_sync(lambda sync: publish(events, session=sync))
    elif running.get() is not None:
        publish(events)  # the handler's own connection is synchronous
    else:
        await asyncio.to_thread(publish, events)
