"""A connection that is taken from the pool with its first statement, for handlers that mostly wait for something else.

To SQLAlchemy's Connection it is the pool's, so that all that is true of a Connection, of a Session on it and of our
guards holds here, too. Nothing of this module may be called outside of `run_sync`, as it may wait.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from events.store.database.availability import PoolExhausted, mark
from events.store.database.engine import begin_sqlite as begin_at_once
from events.store.database.statement_effects import Touch
from events.store.database.watched_connections import Watch, watch_of


class LazilyPooled:
    """Stands in for the pool's connection of a Connection. It keeps the contract of PoolProxiedConnection.

    Args:
        engine: where the connection is taken from.
        eager: take SQLite's write lock at once.
        most: the size of the engine's pool, for the error when none is left.
    """

    def __init__(self, engine: Engine, *, eager: bool, most: int) -> None:
        self._engine = engine
        self._eager = eager
        self._most = most
        self._taken: Connection | None = None
        self._pooled: Any = None  # the pool's connection, once it is taken
        self.on_taken: Callable[[], None] = lambda: None

    @property
    def is_taken(self) -> bool:
        """Whether a statement was sent, so that there is a transaction in the database."""
        return self._taken is not None

    @property
    def is_valid(self) -> bool:
        return self._taken is None or bool(self._pooled.is_valid)

    def commit(self) -> None:
        if self._taken is not None:
            self._pooled.commit()

    def rollback(self) -> None:
        if self._taken is not None:
            self._pooled.rollback()

    def invalidate(self, e: BaseException | None = None, soft: bool = False) -> None:
        if self._taken is not None:
            self._pooled.invalidate(e, soft)

    def close(self) -> None:
        if self._taken is not None:
            self._taken.close()

    def _close_special(self, **_: Any) -> None:  # how a Connection that has ended its transaction closes this
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._taken is None:
            self._take()
        return getattr(self._pooled, name)

    def _take(self) -> None:
        try:
            taken = self._engine.connect()
        except PoolTimeout as error:
            exhausted = PoolExhausted(
                f"all {self._most} database connections of async handlers in this process are in use, and none came "
                f"back within {self._engine.pool.timeout():g} s: let handlers await other things before their first "  # type: ignore[attr-defined]
                f"SQL, or raise EVENTS_ASYNC_CONNECTIONS"
            )
            mark(exhausted)
            raise exhausted from error
        try:
            if self._eager:
                taken = taken.execution_options(eager=True)
            taken.begin()
        except BaseException:
            taken.close()
            raise
        self._taken, self._pooled = taken, taken.connection
        self.on_taken()


def lazy_connection(
    engine: Engine, handler: str, names: Mapping[str, Touch], *, eager: bool, most: int
) -> tuple[Connection, LazilyPooled]:
    """A Connection whose transaction has begun for SQLAlchemy, and begins for the database with the first statement.

    From then on the statements are watched as those of this handler.

    Args:
        names: the effects of names in this database; see `pg_catalog`.
    """
    pooled = LazilyPooled(engine, eager=eager, most=most)
    connection = Connection(engine, connection=pooled)  # type: ignore[arg-type]

    def watch() -> None:
        known: Watch | None = watch_of(connection)
        if known is not None:
            known.names, known.handler = dict(names), handler

    pooled.on_taken = watch
    connection.begin()
    return connection, pooled


def begin_sqlite(connection: Connection) -> None:
    """A listener for the begin of a transaction: see `engine`. That of a lazy connection begins when it is taken."""
    if not isinstance(connection.connection, LazilyPooled):
        begin_at_once(connection)
