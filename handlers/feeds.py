"""The feed of a library: every address once."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from events import Retry, handles, seconds
from handlers.library import CardAddedToLibraryEvent, FeedItem, tidy


class AlreadyInFeed(Exception):
    """The library's feed shows this address already, so the second card with it has no place there."""


@handles(CardAddedToLibraryEvent, retry=Retry(max_attempts=5, backoff=seconds(1), never=(AlreadyInFeed,)))
def add_to_feed(event: CardAddedToLibraryEvent, session: Session) -> None:
    """Show the card in its library's feed."""
    shown = FeedItem(library_id=event.library_id, card_id=event.card_id, title=tidy(event.title), url=event.url)
    same = select(FeedItem.title).where(FeedItem.library_id == shown.library_id, FeedItem.url == shown.url)
    if (title := session.scalar(same)) is not None:
        raise AlreadyInFeed(f"{event.url} is in this library's feed already, as {title!r}")
    session.add(shown)
    try:
        session.flush()
    except IntegrityError as error:  # a worker beside us was first, after we looked
        if "unique" not in str(error.orig).lower():
            raise
        raise AlreadyInFeed(f"{event.url} was put into this library's feed at the same moment") from error
