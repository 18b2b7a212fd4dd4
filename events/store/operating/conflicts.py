"""Work of operators and of upkeep that may get into each other's way: then it is done once more."""

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
    """Do `work` in a transaction of its own; again, from the beginning, if a deadlock or the like ended it.

    What holds rows of two operators is not ordered, so PostgreSQL may have to choose one of them to give way.
    """
    for left in reversed(range(_TRIES)):
        try:
            with transaction(engine) as connection:
                return work(connection)
        except DBAPIError as error:
            # SQLite has waited long already when it says that it is locked.
            if not left or engine.dialect.name == "sqlite" or not is_contention(error):
                raise
        time.sleep(random.uniform(0.01, 0.1))
    raise AssertionError  # not reached
