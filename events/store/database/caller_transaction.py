"""The caller's transaction, as publish() finds it: it is begun if necessary, and refused where it can't be one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, TwoPhaseTransaction

from events.errors import PublishError, SchemaError


def require_transaction(connection: Connection) -> None:
    """Begin the transaction unless it has begun, as every statement does.

    Raises:
        SchemaError: a ledger can't be in this kind of database.
        PublishError: the connection is in AUTOCOMMIT, so that the event would be committed without the caller's data.
    """
    dialect = connection.dialect.name
    if dialect not in ("postgresql", "sqlite"):
        raise SchemaError(f"events are stored in PostgreSQL or SQLite, and this transaction is of {dialect}")
    begun = connection.begin() if connection.get_transaction() is None else None
    # SQLAlchemy itself refuses a transaction that is over and not left yet.
    if connection.in_transaction() and _commits_each_statement(connection):
        if begun is not None:
            begun.rollback()
        raise PublishError(
            "session= is in AUTOCOMMIT, where the event and what you write beside it are two transactions, of which "
            "one may be lost; publish through an engine or connection without isolation_level='AUTOCOMMIT' (and "
            "without the driver's own autocommit, commit() or rollback()), or leave session= out"
        )


@contextmanager
def unprepared(connection: Connection) -> Iterator[None]:
    """While the block runs, psycopg neither prepares statements nor uses prepared ones.

    Behind PgBouncer in transaction mode the caller's next transaction may run on a server connection without them.
    psycopg2 prepares nothing; asyncpg prepares every statement of SQLAlchemy, so the caller's engine has to be set up
    for that (see docs/pgbouncer.md).
    """
    driver: Any = connection.connection.driver_connection
    before = getattr(driver, "prepare_threshold", None)
    if before is None:
        yield
        return
    driver.prepare_threshold = None
    try:
        yield
    finally:
        driver.prepare_threshold = before


def is_two_phase(connection: Connection) -> bool:
    """Whether the commit has two phases: PostgreSQL can't PREPARE a transaction with a NOTIFY."""
    return isinstance(connection.get_transaction(), TwoPhaseTransaction)


def _commits_each_statement(connection: Connection) -> bool:
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name != "sqlite":
        return bool(getattr(driver, "autocommit", False))
    driver = connection.connection.driver_connection  # asyncio's drivers, too, say whether a transaction is open
    by_hand = driver.isolation_level is None or getattr(driver, "autocommit", None) is True
    return by_hand and not driver.in_transaction  # unless a BEGIN was sent
