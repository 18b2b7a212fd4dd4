"""How many connections a process may have, and the error when none is left."""

from typing import Any

from sqlalchemy import Engine, QueuePool
from sqlalchemy.exc import TimeoutError as PoolTimeout

from events.store.database.availability import PoolExhausted, mark

SPARE = 20  # connections beyond those that handlers are expected to take
BACKGROUND = (2, 10)  # the ledger's own pool: connections kept open, and opened beyond


class LedgerPool(QueuePool):
    """SQLAlchemy's pool, whose time-out can be told from the time-out of an application's own pool."""

    __module__ = QueuePool.__module__  # SQLAlchemy names a pool's log by it, and keeps its own log quiet

    def _do_get(self) -> Any:
        try:
            return super()._do_get()
        except PoolExhausted:
            raise
        except PoolTimeout as error:
            exhausted = PoolExhausted(
                f"all {self._pool.maxsize + self._max_overflow} database connections of this process are in use, and "
                f"none came back within {self._timeout:g} s: handlers keep connections of get_engine() open, or raise "
                f"EVENTS_POOL_SIZE"
            )
            mark(exhausted)
            raise exhausted from error


def make_room(engine: Engine, at_once: int, pool_size: int) -> None:
    """Size the pool for a process that runs so many handlers at a time. Closes connections that are not in use.

    Each handler has a connection for its delivery, which is kept open, and may take another from get_engine().
    """
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    kept, most = room(at_once, pool_size)
    pool._pool.maxsize, pool._max_overflow = kept, most - kept
    engine.dispose()  # the next pool is made like this one


def room(at_once: int, pool_size: int) -> tuple[int, int]:
    """The connections that a process with so many handlers keeps open, and those that it may open beyond."""
    kept = max(pool_size, at_once)
    return kept, max(kept, 2 * at_once) + SPARE


def handlers_at_once(pool: str, concurrency: int) -> int:
    """How many handlers one process of a worker runs at a time. `pool`: as in WorkerInfo."""
    return concurrency if pool == "thread" else 1
