"""An application with aggregates, and what tests ask of it."""

import json

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from events import AggregateRoot, DomainEvent, get_engine
from events.store.tables import event_store


class ToldOfShelf(DomainEvent):
    words: str = ""


class Base(DeclarativeBase):
    pass


class Shelf(Base, AggregateRoot):
    __tablename__ = "shelves"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list["Book"]] = relationship(cascade="all, delete-orphan")

    def rename(self, name: str) -> None:
        self.name = name
        self.record(ToldOfShelf(words=name))


class Book(Base, AggregateRoot):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf: Mapped[int] = mapped_column(ForeignKey("shelves.id"))


def stored() -> list[str]:
    """What the stored events say."""
    with get_engine().connect() as connection:
        return sorted(json.loads(data)["words"] for data in connection.scalars(select(event_store.c.event_data)))


def saved_shelf() -> Shelf:
    """In the database, with number 1, and detached."""
    with Session(get_engine(), expire_on_commit=False) as session, session.begin():
        shelf = Shelf(id=1, name="old")
        session.add(shelf)
    return shelf


def new_shelf(name: str) -> Shelf:
    shelf = Shelf(id=1)
    shelf.rename(name)
    return shelf
