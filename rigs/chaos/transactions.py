"""The ways in which applications publish, each once: the business row is there if and only if the event is.

A way gets the event, and writes its row; an event that it publishes in vain, into what rolls back alone, it returns.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Connection, Engine, create_engine, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from events import AggregateRoot, DomainEvent, get_engine, publish
from rigs.chaos.application import Ordered, ShelfChanged, Tasked
from rigs.chaos.tables import SHELVES, business


class OnPurpose(Exception):
    """Rolls the transaction back."""


Way = Callable[[DomainEvent, str, bool, Callable[[DomainEvent], None]], None]


def by_connection(event: DomainEvent, kind: str, rolls_back: bool, _: Callable[[DomainEvent], None]) -> None:
    with get_engine().begin() as connection:
        _write(connection, event, kind)
        publish(event, session=connection)
        _end(rolls_back)


def by_session(event: DomainEvent, kind: str, rolls_back: bool, _: Callable[[DomainEvent], None]) -> None:
    with Session(get_engine()) as session, session.begin():
        publish(event, session=session)
        _write(session, event, kind)
        _end(rolls_back)


def by_an_engine_of_its_own(event: DomainEvent, kind: str, rolls_back: bool, _: Callable[[DomainEvent], None]) -> None:
    with Session(_own_engine()) as session, session.begin():
        _write(session, event, kind)
        publish(event, session=session)
        _end(rolls_back)


def before_a_savepoint_that_rolls_back(
    event: DomainEvent, kind: str, rolls_back: bool, in_vain: Callable[[DomainEvent], None]
) -> None:
    """ "Insert unless it is there", of SQLAlchemy's manual; and what is published in there is published in vain."""
    lost = Ordered()
    in_vain(lost)
    with Session(get_engine()) as session, session.begin():
        _write(session, event, kind)
        publish(event, session=session)
        with suppress(IntegrityError), session.begin_nested():
            publish(lost, session=session)
            session.execute(select(business.c.kind).where(business.c.event_id == str(event.event_id)))
            _write(session, event, kind)
        _end(rolls_back)


def in_a_savepoint(event: DomainEvent, kind: str, rolls_back: bool, _: Callable[[DomainEvent], None]) -> None:
    with get_engine().begin() as connection:
        with connection.begin_nested():
            publish(event, session=connection)
        _write(connection, event, kind)
        _end(rolls_back)


def beside_other_threads(event: DomainEvent, kind: str, rolls_back: bool, _: Callable[[DomainEvent], None]) -> None:
    """One of them does it; the others use the same engine for the first time at the same moment."""
    barrier, errors = threading.Barrier(3), []

    def run(number: int) -> None:
        barrier.wait(10)
        try:
            if number:
                with get_engine().connect() as connection, suppress(OnPurpose), connection.begin():
                    connection.execute(select(business.c.kind).limit(1))
                    raise OnPurpose
            else:
                by_connection(event, kind, rolls_back, lambda _: None)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


WAYS: tuple[Way, ...] = (
    by_connection, by_session, by_an_engine_of_its_own, before_a_savepoint_that_rolls_back, in_a_savepoint,
    beside_other_threads,
)  # fmt: skip


class _Base(DeclarativeBase):
    pass


class Shelf(_Base, AggregateRoot):
    """An aggregate, saved as users save it: loaded, merged, changed in savepoints."""

    __tablename__ = "chaos_shelves"
    id: Mapped[int] = mapped_column(primary_key=True)
    changes: Mapped[int]

    def change(self, event: ShelfChanged) -> None:
        self.changes += 1
        self.record(event)


def merged(event: ShelfChanged, rolls_back: bool, in_vain: Callable[[DomainEvent], None]) -> None:
    """A detached aggregate changes and is merged; another change, in a savepoint, is taken back."""
    lost = ShelfChanged()
    in_vain(lost)
    number = event.event_id.int % SHELVES
    with Session(get_engine(), expire_on_commit=False) as session:
        shelf = session.get_one(Shelf, number)
    shelf.change(event)
    with Session(get_engine()) as session, session.begin():
        _write(session, event, "ShelfChanged")
        kept = session.merge(shelf)
        session.flush()
        with suppress(OnPurpose), session.begin_nested():
            kept.change(lost)
            raise OnPurpose
        _end(rolls_back)


def by_tasks(event: Tasked, rolls_back: bool, in_vain: Callable[[DomainEvent], None]) -> None:
    """Plain tasks beside a business row; and some, in a savepoint, are taken back."""
    from rigs.chaos.plain import charges, tells

    lost, number = Tasked(), str(event.event_id)
    in_vain(lost)
    with Session(get_engine()) as session, session.begin():
        tells.apply_async((number,), task_id=number)
        _write(session, event, "Tasked")
        with suppress(OnPurpose), session.begin_nested():
            tells.apply_async((str(lost.event_id),), task_id=str(lost.event_id))
            charges.apply_async((str(lost.event_id),), task_id=str(lost.event_id))
            raise OnPurpose
        charges.apply_async((number,), task_id=number)
        _end(rolls_back)


def _write(connection: Connection | Session, event: DomainEvent, kind: str) -> None:
    connection.execute(insert(business).values(event_id=str(event.event_id), kind=kind))


def _end(rolls_back: bool) -> None:
    if rolls_back:
        raise OnPurpose


_engine: Engine | None = None


def _own_engine() -> Engine:
    global _engine
    if _engine is None:
        _engine = create_engine(get_engine().url, pool_size=2, pool_pre_ping=True)
    return _engine
