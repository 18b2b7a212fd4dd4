"""Sends statements by the driver itself: for every event or delivery that costs a third of SQLAlchemy's way."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from events.store.database.availability import seen_by_driver


def execute_by_driver(connection: Connection, statement: str, values: Sequence[Any] = ()) -> Any:
    """Execute in the transaction that SQLAlchemy has begun: without one it would never commit.

    Returns the driver's cursor.

    For psycopg and sqlite3, whose connections have `execute`. Drivers of asyncio are waited for in SQLAlchemy's way.

    Raises:
        sqlalchemy.exc.DBAPIError: as SQLAlchemy would raise it.
    """
    if connection.dialect.is_async:
        if connection.dialect.driver == "asyncpg":
            statement = _numbered(statement)
        return connection.exec_driver_sql(statement, tuple(values) or None)
    driver: Any = connection.connection.driver_connection
    library: Any = connection.dialect.loaded_dbapi
    try:
        return driver.execute(statement, values) if values else driver.execute(statement)
    except library.Error as error:
        raise as_sqlalchemy_error(connection, statement, error) from error


def copy_by_driver(connection: Connection, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    """Copy these rows by `COPY ... FROM STDIN`. For psycopg, in the transaction that SQLAlchemy has begun.

    Raises:
        sqlalchemy.exc.DBAPIError: as SQLAlchemy would raise it.
    """
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise as_sqlalchemy_error(connection, statement, error) from error


def as_sqlalchemy_error(connection: Connection, statement: str, error: Any) -> DBAPIError:
    """The driver's error, as SQLAlchemy would have raised it: it knows from then on if the connection is lost."""
    driver: Any = connection.connection.driver_connection
    library: Any = connection.dialect.loaded_dbapi
    lost = connection.dialect.is_disconnect(error, driver, None)
    wrapped: Any = DBAPIError.instance(
        statement, None, error, library.Error, connection_invalidated=lost, dialect=connection.dialect
    )
    seen_by_driver(connection, wrapped)
    if lost:
        connection.invalidate(error)  # or each savepoint of it would be undone over it, which fails
    return wrapped  # type: ignore[no-any-return]


def _numbered(statement: str) -> str:
    """The statement with parameters as asyncpg has them: $1, $2 and so on, each a text."""
    first, *rest = statement.split("%s")
    return first + "".join(f"${place}::text{part}" for place, part in enumerate(rest, 1))
