"""How many connections a process may have, and the error when none is left."""

from contextvars import ContextVar
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection, QueuePool
from sqlalchemy.exc import TimeoutError as PoolTimeout

from events.store.database.availability import PoolExhausted, mark

SPARE = 20  # connections beyond those that handlers are expected to take
BACKGROUND = (2, 10)  # the ledger's own pool: connections kept open, and opened beyond

_room: ContextVar[tuple[int, int] | None] = ContextVar("events_pool_room", default=None)  # of a pool that is being made


class LedgerPool(QueuePool):
    """SQLAlchemy's pool, whose time-out can be told from an application's own, and whose size can change.

    Attributes:
        room: connections that the next pool of this engine keeps open, and how many more it may open.
    """

    __module__ = QueuePool.__module__  # SQLAlchemy names a pool's log by it, and keeps its own log quiet

    def __init__(self, creator: Any, pool_size: int = 5, max_overflow: int = 10, **options: Any) -> None:
        self.room = _room.get() or (pool_size, max_overflow)  # a pool that is made anew has the room of `make_room`
        self._most = sum(self.room)
        super().__init__(creator, *self.room, **options)

    def recreate(self) -> QueuePool:
        """Called by `Engine.dispose`."""
        token = _room.set(self.room)
        try:
            return super().recreate()
        finally:
            _room.reset(token)

    def connect(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        except PoolTimeout as error:
            exhausted = PoolExhausted(
                f"all {self._most} database connections of this process are in use, and none came back within "
                f"{self.timeout():g} s: handlers keep connections of get_engine() open, or raise EVENTS_POOL_SIZE"
            )
            mark(exhausted)
            raise exhausted from error


def make_room(engine: Engine, at_once: int, pool_size: int) -> None:
    """Size the pool for a process that runs so many handlers at a time. Closes connections that are not in use.

    Each handler has a connection for its delivery, which is kept open, and may take another from get_engine().
    """
    pool = engine.pool
    assert isinstance(pool, LedgerPool)
    kept, most = room(at_once, pool_size)
    pool.room = kept, most - kept
    engine.dispose()


def room(at_once: int, pool_size: int) -> tuple[int, int]:
    """The connections that a process with so many handlers keeps open, and those that it may open beyond."""
    kept = max(pool_size, at_once)
    return kept, max(kept, 2 * at_once) + SPARE


def handlers_at_once(pool: str, concurrency: int) -> int:
    """How many handlers one process of a worker runs at a time. `pool`: as in WorkerInfo."""
    return concurrency if pool == "thread" else 1
