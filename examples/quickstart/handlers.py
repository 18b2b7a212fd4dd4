# handlers.py: a whole application. Its own tables and the ledger of events are in one database.
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from events import DomainEvent, Retry, get_engine, handles, minutes, on_migrate, publish, seconds


class Base(DeclarativeBase):
    id: Mapped[int] = mapped_column(primary_key=True)


class Card(Base):
    __tablename__ = "cards"
    title: Mapped[str]


class FeedItem(Base):
    __tablename__ = "feed"
    library: Mapped[str]
    title: Mapped[str]


on_migrate(Base.metadata.create_all)  # `events migrate` makes these tables, too


class CardAdded(DomainEvent, aggregate_id="library"):  # a fact: a frozen pydantic model
    library: str
    title: str


@handles(CardAdded, retry=Retry(max_attempts=5, backoff=seconds(1), max_backoff=minutes(10)))
def add_to_feed(event: CardAdded, session: Session) -> None:  # parameters are injected by type
    session.add(FeedItem(library=event.library, title=event.title))


if __name__ == "__main__":
    with Session(get_engine()) as session, session.begin():  # your transaction
        session.add(Card(title="Dune"))
        publish(CardAdded(library="Arrakis", title="Dune"), session=session)
