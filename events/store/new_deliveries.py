"""Stores many deliveries that are new, and marks their events as fanned out.

On PostgreSQL they are copied: of all ways to insert, COPY writes the least, as it writes pages and not rows. It fails
if the ledger has one of them, which only happens beside a program that makes deliveries by itself, and where the table
has row-level security; then they are inserted row by row, but for those that are there.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Uuid, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError, NotSupportedError

from events.store.database.driver import copy_by_driver
from events.store.database.upsert import insert_into
from events.store.fan_out import DONE, MADE
from events.store.schema import postgres_schema
from events.store.tables import event_deliveries, event_store


class NewDelivery(NamedTuple):
    """The columns of a delivery that are not as they are by default. `message` and `sent_at` are None unless sent."""

    event_id: UUID
    handler: str
    queue: str
    event_type: str
    state: str
    due_at: datetime
    created_at: datetime
    sent_at: datetime | None
    message: int | None


def store(connection: Connection, deliveries: Sequence[NewDelivery]) -> Sequence[Any]:
    """Return those that were not there before, with at least event_id, handler, queue, event_type and state."""
    if connection.dialect.name != "postgresql":
        return _insert(connection, deliveries)
    table = postgres_schema.named(event_deliveries.name)
    copying = f"COPY {table} ({', '.join(NewDelivery._fields)}) FROM STDIN"
    try:
        with connection.begin_nested():
            copy_by_driver(connection, copying, deliveries)
    except (IntegrityError, NotSupportedError):  # the second where rows have security of their own
        return _insert(connection, deliveries)
    return deliveries


def mark(connection: Connection, event_ids: Collection[UUID]) -> None:
    """Mark these events as fanned out."""
    if connection.dialect.name == "postgresql":
        connection.execute(_marking_all(), {"ids": list(event_ids)})
    else:
        connection.execute(_marking_one(), [{"one": event_id} for event_id in event_ids])


def _insert(connection: Connection, deliveries: Sequence[NewDelivery]) -> Sequence[Any]:
    return connection.execute(
        _inserting(connection.dialect.name), [dict(zip(NewDelivery._fields, one, strict=True)) for one in deliveries]
    ).all()


# Each statement is built once: SQLAlchemy takes longer to build a statement than PostgreSQL to answer it.


@cache
def _inserting(dialect: str) -> Any:
    into: Any = insert_into(event_deliveries, dialect)
    return into.on_conflict_do_nothing(index_elements=["event_id", "handler"]).returning(*MADE)


@cache
def _marking_all() -> Any:
    ids = func.unnest(bindparam("ids", type_=ARRAY[Any](Uuid()))).table_valued("id", name="ids").render_derived()
    return update(event_store).where(event_store.c.id.in_(select(ids.c.id))).values(**DONE)


@cache
def _marking_one() -> Any:
    return update(event_store).where(event_store.c.id == bindparam("one")).values(**DONE)
