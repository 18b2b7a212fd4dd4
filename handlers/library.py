"""The library: what is stored, and the event that says a card was added to one.

The tables carry a prefix, so that trying the example in a database that has tables already collides with none.
"""

import re
from uuid import UUID, uuid4

from sqlalchemy import Connection, ForeignKey, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from events import DomainEvent, on_migrate


class CardAddedToLibraryEvent(DomainEvent, aggregate_id="library_id"):
    """Somebody added a card, which is a titled link, to a library."""

    card_id: UUID
    library_id: UUID
    title: str
    url: str
    added_by: str


class Base(DeclarativeBase):
    """The example's own tables, apart from those of the ledger."""


class Library(Base):
    __tablename__ = "example_libraries"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str]


class Card(Base):
    __tablename__ = "example_cards"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    library_id: Mapped[UUID] = mapped_column(ForeignKey(Library.id), index=True)
    title: Mapped[str]
    url: Mapped[str]
    added_by: Mapped[str]


class Follower(Base):
    __tablename__ = "example_followers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    library_id: Mapped[UUID] = mapped_column(ForeignKey(Library.id), index=True)
    name: Mapped[str]


class FeedItem(Base):
    """A library's feed shows an address once, however often somebody adds it."""

    __tablename__ = "example_feed_items"
    __table_args__ = (UniqueConstraint("library_id", "url"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    library_id: Mapped[UUID] = mapped_column(ForeignKey(Library.id))
    card_id: Mapped[UUID] = mapped_column(ForeignKey(Card.id))
    title: Mapped[str]
    url: Mapped[str]


class Notification(Base):
    """One message to one follower. No constraint forbids a second: that there is none is what the ledger promises."""

    __tablename__ = "example_notifications"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    follower_id: Mapped[UUID] = mapped_column(ForeignKey(Follower.id), index=True)
    card_id: Mapped[UUID] = mapped_column(ForeignKey(Card.id))
    text: Mapped[str]


@on_migrate
def create_tables(connection: Connection) -> None:
    """Called by `events migrate` in its transaction; creates what is missing and changes nothing that exists."""
    Base.metadata.create_all(connection)


def tidy(title: str) -> str:
    """A title as people should see it: the list's Markdown escapes (`\\<CFML\\>`) and stray spaces are gone."""
    return " ".join(re.sub(r"\\([\\`*_{}\[\]<>()#+.!|-])", r"\1", title).split())
