"""Django's wrapper of a database, as a handler has it: on the delivery's connection, in the delivery's transaction.

It can't be ended or closed: not by `close_old_connections()`, nor by `connections.close_all()`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.db import transaction

from events.errors import HandlerError, TransactionMisused
from events.store import cursor_of

KEY = "events_django"  # of the LentConnection, in what SQLAlchemy keeps with a connection


class LentConnection:
    """The driver's connection, as Django has it while it is lent.

    Attributes:
        raw: the driver's connection.
        adapters: of psycopg, as Django and its applications have them; None on SQLite.
    """

    def __init__(self, raw: Any, adapters: Any, kind: type[Any]) -> None:
        self.__dict__.update(raw=raw, adapters=adapters, autocommit=False, _kind=kind)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.raw, name, value)

    def cursor(self, name: str | None = None, factory: type[Any] | None = None, **options: Any) -> Any:
        if name is not None:
            import psycopg

            return cursor_of(self.raw, factory or psycopg.ServerCursor, self.adapters, name=name, **options)
        return cursor_of(self.raw, factory or self._kind, self.adapters, **options)

    def close(self) -> None:
        """It is the delivery's, which goes on."""

    def commit(self) -> None:
        self._refuse("commit()")

    def rollback(self) -> None:
        self._refuse("rollback()")

    def _refuse(self, what: str) -> None:
        raise TransactionMisused(
            f"a handler tried to end the delivery's own transaction ({what} of the driver's connection), in which its "
            f"outcome is written when it returns; use atomic() for a part of it, or raise an error"
        )


class Lent:
    """What a lent wrapper does in another way than Django's, of which it is a subclass, too."""

    lends_to: str
    before: Callable[[], None]
    connection: Any
    pool = None  # of psycopg, by OPTIONS

    def lend(self, connection: LentConnection, handler: str, before: Callable[[], None]) -> None:
        """Put it in the transaction. `before` is called before a statement is sent."""
        state: Any = self
        self.connection, self.lends_to, self.before = connection, handler, before
        state.in_atomic_block, state.autocommit = True, False
        # An atomic(durable=True) must not be within another, and it is: it ends before the delivery commits.
        state.atomic_blocks = [transaction.Atomic(state.alias, savepoint=False, durable=False)]

    def give_back(self) -> None:
        self.connection = None

    def create_cursor(self, name: str | None = None) -> Any:
        self.before()
        if name is None:
            return self.connection.cursor()
        from django.db.backends.postgresql.base import ServerSideCursor

        state: Any = self
        by_server = state.settings_dict["OPTIONS"].get("server_side_binding") is True
        return self.connection.cursor(name, None if by_server else ServerSideCursor, scrollable=False, withhold=False)

    def connect(self) -> None:
        raise HandlerError(
            f"this connection of Django's belongs to a delivery of handler {self.lends_to!r} that has ended; ask for "
            f"connections[alias] anew"
        )

    def close(self) -> None: ...

    def close_if_unusable_or_obsolete(self) -> None: ...

    def close_if_health_check_failed(self) -> None: ...


@cache
def lent_class(base: Any) -> type[Any]:
    """The lent wrapper of a class of wrappers."""
    return type(f"Lent{base.__name__}", (Lent, base), {"__module__": __name__})


def new_wrapper(original: Any) -> Any:
    """A lent wrapper like this one of Django's, with no connection yet."""
    kind: Any = type(original)
    return (kind if issubclass(kind, Lent) else lent_class(kind))(original.settings_dict, original.alias)


def lent_connection(raw: Any, original: Any) -> LentConnection:
    """The driver's connection, for the lent wrappers of this one of Django's."""
    if original.vendor == "sqlite":
        from django.db.backends.sqlite3.base import SQLiteCursorWrapper

        return LentConnection(raw, None, SQLiteCursorWrapper)
    from psycopg.adapt import AdaptersMap

    arguments = original.get_connection_params()
    return LentConnection(raw, AdaptersMap(arguments["context"]), arguments["cursor_factory"])
