"""Several statements that see the ledger at one moment, so that their numbers agree."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from events.store.database.engine import transaction


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """One read-only transaction. It sees the moment of its first statement; no writer waits for it.

    Two round trips more than `engine.look`. While it is open PostgreSQL keeps old rows and SQLite its WAL, so
    keep it open only as long as reading takes.
    """
    if engine.dialect.name == "sqlite":
        with transaction(engine, eager=False) as connection:
            yield connection
        return
    with transaction(engine, eager=False, isolation_level="REPEATABLE READ") as connection:
        # Not by an option of the connection: to undo that, SQLAlchemy would let it write, whatever the database says.
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        yield connection
