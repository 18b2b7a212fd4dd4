"""Repeats work of operators and of upkeep that was stopped by a conflict with other such work."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from events.store.database.engine import is_contention, transaction

Answer = TypeVar("Answer")
_TRIES = 6


def in_turn(engine: Engine, work: Callable[[Connection], Answer]) -> Answer:
    """Do `work` in a transaction of its own, and repeat it from the beginning if a deadlock or the like ended it.

    Two operators lock their rows in no common order, so PostgreSQL may have to stop one of them.
    """
    for left in reversed(range(_TRIES)):
        try:
            with transaction(engine) as connection:
                return work(connection)
        except DBAPIError as error:
            # When SQLite says that it is locked, it has waited long already.
            if not left or engine.dialect.name == "sqlite" or not is_contention(error):
                raise
        time.sleep(random.uniform(0.01, 0.1))
    raise AssertionError  # not reached
