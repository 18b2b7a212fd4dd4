"""The ledger on Django's own connection: a SQLAlchemy engine whose connections are those of `connections[alias]`.

Processes of the application have no other connections to the ledger. So publishing and looking at the ledger take part
in the transaction that is open, in a test's, too; and Django's settings, pools and signals are in force.
A transaction of SQLAlchemy is an `atomic()` there.
"""

import sqlite3
import threading
from typing import Any

import psycopg
from django.db import DatabaseError, connections, transaction
from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from events.django.wrappers import LentConnection
from events.settings import Settings, ledger_url
from events.store import cursor_of

_IGNORED = {"autocommit", "isolation_level", "read_only", "deferrable"}  # these are Django's to set


def home_engine(alias: str, settings: Settings, thread: int | None = None) -> Engine:
    """An engine on the connections of this alias. It connects when it is first used, by Django.

    Args:
        thread: the only thread that may use it; None for any, each of which has a connection of its own.
    """
    url = ledger_url(settings.database_url)
    options: dict[str, Any] = {"use_native_hstore": False} if url.get_backend_name() == "postgresql" else {}

    def connect() -> Any:
        if thread not in (None, threading.get_ident()):
            raise RuntimeError("another thread sees nothing of the transaction of a test")
        wrapper = connections[alias]
        wrapper.ensure_connection()
        raw = wrapper.connection
        return HomeConnection(raw.raw if isinstance(raw, LentConnection) else raw, alias, adapters)

    engine = create_engine(url, creator=connect, poolclass=NullPool, hide_parameters=True, **options)
    adapters = engine.dialect.create_connect_args(url)[1].get("context")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        home_of(connection).begin()

    return engine


def home_of(connection: Connection) -> "HomeConnection":
    """What the driver's connection is to SQLAlchemy, for an engine of `home_engine`."""
    home = connection.connection.driver_connection
    assert isinstance(home, HomeConnection)
    return home


class HomeConnection:
    """Django's connection of the driver, as SQLAlchemy's: it is neither set up, closed nor committed there.

    Attributes:
        raw: the driver's connection.
        joins: whether SQLAlchemy begins no `atomic()` of its own, but is in the transaction that is open in Django.
    """

    def __init__(self, raw: Any, alias: str, adapters: Any) -> None:
        state = {
            "raw": raw,
            "joins": False,
            "_alias": alias,
            "_adapters": adapters,
            "_atomic": None,
            "_by_itself": False,
        }
        self.__dict__.update(state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "autocommit":
            self.__dict__["_by_itself"] = value
        elif name in self.__dict__:
            self.__dict__[name] = value
        elif name not in _IGNORED:
            setattr(self.raw, name, value)

    def cursor(self, name: str | None = None, **options: Any) -> Any:
        if isinstance(self.raw, sqlite3.Connection):
            return cursor_of(self.raw, sqlite3.Cursor)
        kind: type[Any] = psycopg.ServerCursor if name else psycopg.Cursor
        named = {"name": name} if name else {}
        return cursor_of(self.raw, kind, self._adapters or psycopg.adapters, **named, **options)

    def execute(self, statement: Any, values: Any = None, **options: Any) -> Any:
        cursor = self.cursor()
        return (
            cursor.execute(statement, values, **options) if values is not None else cursor.execute(statement, **options)
        )

    def join(self) -> None:
        """What SQLAlchemy begins from now on is in the transaction that is open in Django."""
        self.__dict__["joins"] = True

    def begin(self) -> None:
        """A transaction of SQLAlchemy begins."""
        if not self.joins and not self._by_itself:
            self.__dict__["_atomic"] = transaction.atomic(using=self._alias)
            self._atomic.__enter__()

    def commit(self) -> None:
        self._end(None)

    def rollback(self) -> None:
        self._end(_RolledBack())

    def close(self) -> None:
        self.rollback()

    def create_function(self, *_: Any, **__: Any) -> None:
        """SQLAlchemy's REGEXP would take the place of Django's."""

    def add_notice_handler(self, _: Any) -> None:
        """SQLAlchemy adds one to each connection that it makes, and Django's lives on."""

    def _end(self, error: BaseException | None) -> None:
        atomic, self.__dict__["_atomic"] = self._atomic, None
        if atomic is None:
            return
        try:
            atomic.__exit__(type(error) if error is not None else None, error, None)
        except DatabaseError as failed:
            raise failed.__cause__ or failed from None  # the driver's, which SQLAlchemy knows


class _RolledBack(Exception):
    """Makes `atomic()` roll back."""
