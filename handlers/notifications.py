"""Telling a library's followers of a new card."""

from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from events import Retry, handles, minutes, seconds
from handlers.library import CardAddedToLibraryEvent, Follower, Library, Notification, tidy


class InsecureLink(Exception):
    """The link is not encrypted. The feed shows it as it is; inviting people to click it is another matter."""


@handles(
    CardAddedToLibraryEvent,
    retry=Retry(max_attempts=8, backoff=seconds(2), max_backoff=minutes(10), never=(InsecureLink,)),
)
def notify_followers(event: CardAddedToLibraryEvent, session: Session) -> None:
    """Write one notification for each follower of the library."""
    if urlsplit(event.url).scheme != "https":
        raise InsecureLink(f"{event.url} is not https; followers are not sent links that others can read or change")
    library = session.scalar(select(Library.name).where(Library.id == event.library_id))
    text = f"{event.added_by} added “{tidy(event.title)}” to {library}: {event.url}"
    for follower in session.scalars(select(Follower.id).where(Follower.library_id == event.library_id)):
        session.add(Notification(follower_id=follower, card_id=event.card_id, text=text))
