"""What the application of the rig keeps in the database, and how its handlers say what they do.

The package knows nothing of these tables. CHAOS_STARTS is a file that gets a line for each start of a handler, which
no rollback takes back.
"""

import hashlib
import os
import time

from sqlalchemy import Column, Connection, Float, Integer, MetaData, String, Table, insert

from events import on_migrate

metadata = MetaData()
effects = Table(
    "chaos_effects", metadata, Column("id", Integer, primary_key=True), Column("event_id", String(36), index=True),
    Column("handler", String(50)), Column("attempt", Integer), Column("cause", String(36)), Column("done_at", Float),
)  # fmt: skip
business = Table(
    "chaos_business", metadata, Column("event_id", String(36), primary_key=True), Column("kind", String(50))
)
counters = Table("chaos_counters", metadata, Column("id", Integer, primary_key=True), Column("count", Integer))
shelves = Table(
    "chaos_shelves", metadata, Column("id", Integer, primary_key=True), Column("changes", Integer, nullable=False)
)
SHELVES = 4


@on_migrate
def create_tables(connection: Connection) -> None:
    metadata.create_all(connection)
    if connection.scalar(counters.select().with_only_columns(counters.c.id)) is None:
        connection.execute(insert(counters).values(id=1, count=0))
        connection.execute(insert(shelves), [{"id": number, "changes": 0} for number in range(SHELVES)])


def note_start(event_id: object, handler: str, attempt: int) -> None:
    descriptor = os.open(os.environ["CHAOS_STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{event_id} {handler} {attempt} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


def effect(event_id: object, handler: str, attempt: int, cause: str | None = None) -> dict[str, object]:
    return {"event_id": str(event_id), "handler": handler, "attempt": attempt, "cause": cause, "done_at": time.time()}


def is_unlucky(event_id: object, attempt: int) -> bool:
    """Two of five times, and the same each time that it is asked."""
    return hashlib.sha256(f"{event_id} {attempt}".encode()).digest()[0] < 102


def is_odd(event_id: object) -> bool:
    return bool(hashlib.sha256(str(event_id).encode()).digest()[0] % 2)


def slowness(event_id: object) -> float:
    return 0.2 + hashlib.sha256(str(event_id).encode()).digest()[0] / 200
