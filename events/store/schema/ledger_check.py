"""Warns an application that publishes into another ledger than the one that its workers read."""

import logging
import os
import threading
import time
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.engine import Dialect

from events.store.database.lent_transaction import OURS
from events.store.schema.postgres_schema import named
from events.store.tables import event_store
from events.text import redact

log = logging.getLogger("events.publishing")

_ASK_EVERY = 60.0  # seconds after which a ledger that couldn't be reached is asked again
# Neither statement can fail in a healthy transaction, so the caller's transaction never suffers.
_TABLE = (
    "SELECT current_database(), coalesce(to_regclass('{table}')::oid::bigint, 0),"
    " (SELECT relnamespace::regnamespace::text FROM pg_catalog.pg_class WHERE oid = to_regclass('{table}')::oid),"
    " has_function_privilege(to_regprocedure('pg_catalog.pg_control_system()')::oid, 'EXECUTE')"
)
_SERVER = "SELECT system_identifier FROM pg_catalog.pg_control_system()"


class Identity(NamedTuple):
    """The values that tell one ledger from another. None: not known."""

    dialect: str
    server: int | None
    database: str
    table: int
    schema: str = ""


def identity_of(connection: Connection) -> Identity:
    """The identity of the ledger in which this transaction publishes."""

    def ask(statement: str) -> Any:
        return connection.exec_driver_sql(statement, execution_options=OURS).first()

    if connection.dialect.name == "sqlite":
        files = connection.exec_driver_sql("PRAGMA database_list", execution_options=OURS).all()
        return _of_file(next((file for _, name, file in files if name == "main"), ""))
    database, table, schema, may_ask = ask(_TABLE.format(table=named(event_store.name)))
    return Identity("postgresql", ask(_SERVER)[0] if may_ask else None, database, table, schema or "")


class LedgerCheck:
    """Compares the ledgers that this process publishes into with its own, and warns once of each that differs.

    It never stops or slows publishing: its statements in the caller's transaction can't fail in a healthy one, and a
    thread asks its own ledger, which may be out of reach. Threads may share it.

    Args:
        engine: the engine of its own ledger.
        given: whether EVENTS_DATABASE_URL was set at all.
    """

    def __init__(self, engine: Engine, *, given: bool = True) -> None:
        self._engine = engine
        self._given = given
        self._own: Identity | None = None
        self._usual = 0  # the oid of the table that its own engine publishes into
        self._seen: WeakKeyDictionary[Dialect, dict[int, Identity]] = WeakKeyDictionary()  # by engine and table
        self._compared: dict[Identity, object] = {}
        self._next_try = 0.0

    def see(self, connection: Connection, table: int) -> None:
        """Note a publish() in this transaction, into the table with this oid; 0 if there is none."""
        dialect = connection.dialect
        seen = self._seen.setdefault(dialect, {})
        if dialect is self._engine.dialect and not seen:  # while the engine leads to one table, that is its own
            self._usual = self._usual or table
            if table == self._usual:
                return
        where = seen.get(table)
        if where is None:
            where = seen[table] = identity_of(connection)
        if where in self._compared:
            return
        if where.dialect != self._engine.dialect.name or where.dialect == "sqlite" or self._own is not None:
            self._compare(where, connection.engine)
        elif time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + _ASK_EVERY
            try:
                threading.Thread(
                    target=self._ask_own, args=(where, connection.engine), name="events-ledger-check", daemon=True
                ).start()
            except RuntimeError:  # the process ends, or can't start a thread
                log.debug("can't look which ledger this is", exc_info=True)

    def _ask_own(self, where: Identity, engine: Engine) -> None:
        own = create_engine(self._engine.url, poolclass=NullPool, connect_args={"connect_timeout": 10})
        try:
            with own.connect() as connection:
                self._own = identity_of(connection)
        except Exception:
            log.debug("can't ask the ledger of EVENTS_DATABASE_URL who it is", exc_info=True)
            return
        self._compare(where, engine)

    def _compare(self, where: Identity, engine: Engine) -> None:
        mine = object()
        if self._compared.setdefault(where, mine) is not mine:  # another thread was first
            return
        own = self._own
        if self._engine.dialect.name == "sqlite":
            own = _of_file(self._engine.url.database or "")
        if own is not None and own[:3] == where[:3] and own.schema != where.schema:
            log.warning(
                "events are published into the ledger in schema %s of %s, to which search_path leads there, but "
                "workers read the one in schema %s: they never see them; drop the ledger that is too many, or have "
                "search_path find the workers' first",
                where.schema,
                _shown(engine),
                own.schema,
            )
        elif own is None or _are_different(own, where):
            log.warning(
                "events are published into the ledger in %s, but %s is %s: workers that run with that never see them; "
                "set EVENTS_DATABASE_URL, here and for the workers, to the database that the application writes to",
                _shown(engine),
                "EVENTS_DATABASE_URL" if self._given else "EVENTS_DATABASE_URL is not set, and its default",
                _shown(self._engine),
            )


def _of_file(path: str) -> Identity:
    """The identity of a file: device and inode, since a file may have many names."""
    try:
        found = os.stat(path)  # noqa: PTH116 - "" is none, and no folder
    except OSError:
        return Identity("sqlite", None, path, 0)
    return Identity("sqlite", found.st_dev, "", found.st_ino)


def _are_different(one: Identity, other: Identity) -> bool:
    if None not in (one.server, other.server) and one.server != other.server:
        return True
    return (one.dialect, one.database, one.table) != (other.dialect, other.database, other.table)


def _shown(engine: Engine) -> str:
    return redact(engine.url.render_as_string(hide_password=True))
