"""Forks: Celery's prefork pool makes children while the relay's thread uses the database in the parent.

A child must not use its parent's connections: on PostgreSQL it would read the parent's answers. On SQLite it must
not even inherit one: the library keeps locks in memory, and a child forked in a transaction waits for ever.
https://sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_
"""

import functools
import os
import threading
from collections import Counter
from typing import Any
from weakref import WeakSet

from sqlalchemy import Engine

from events.errors import ForkedInTransaction
from events.store.database.pools import LedgerPool

_WAIT_FOR_OTHERS = 60.0  # seconds: longer than a transaction of ours waits for the lock of another process


class _Gate:
    """The connections to SQLite that threads of this process use, of all engines. None is taken while it forks."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._in_use: Counter[int] = Counter()  # connections, by the thread that took them
        self._forking = False
        self._was_open = False  # when this process was forked

    def take(self, thread: int) -> None:
        with self._change:
            if self._was_open:
                raise ForkedInTransaction(
                    "this process was forked while its parent was in a transaction on an SQLite file, and would spoil "
                    "the file: fork before the transaction or after it, or start the child with "
                    'multiprocessing.get_context("spawn")'
                )
            if not self._in_use[thread]:  # else the fork waits for this very thread
                self._change.wait_for(lambda: not self._forking, _WAIT_FOR_OTHERS)
            self._in_use[thread] += 1

    def give_back(self, thread: int) -> None:
        with self._change:
            self._in_use[thread] -= 1
            self._in_use += Counter()  # drops those that have none
            self._change.notify_all()

    def close(self) -> None:
        """Before a fork: wait for other threads. For a transaction of this very thread it would wait in vain."""
        with self._change:
            self._forking = True
            self._change.wait_for(self._others_are_done, _WAIT_FOR_OTHERS)

    def open(self) -> None:
        with self._change:
            self._forking = False
            self._change.notify_all()

    def begin_anew(self) -> None:
        """In a child, in which no other thread is left; one of them may have held the lock."""
        self._change = threading.Condition()
        self._was_open = self._was_open or bool(self._in_use)
        self._in_use.clear()
        self._forking = False

    def _others_are_done(self) -> bool:
        return not self._in_use.keys() - {threading.get_ident()}


class ForkSafety:
    """Ties an engine to os.fork: children begin without connections.

    With `alone`, no connection of other threads is open at a fork, and a child that is forked within a transaction all
    the same may not connect.
    """

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self._engine: Engine | None = None
        _all.add(self)
        _watch_forks()

    @property
    def pool_class(self) -> type[LedgerPool]:
        """A pool for an engine that is `alone`: it knows of each connection from before it is opened until it is
        returned.

        The pool's events would come too late: a connection is opened before its checkout event.
        """
        taking: set[int] = set()  # threads that are within _do_get
        takers: dict[int, int] = {}  # the thread that took a record, by the record's id

        class ForkSafePool(LedgerPool):
            __module__ = LedgerPool.__module__

            def _do_get(self) -> Any:
                thread = threading.get_ident()
                if thread in taking:  # SQLAlchemy calls it again when another thread took the place
                    return super()._do_get()
                _gate.take(thread)
                taking.add(thread)
                try:
                    record = super()._do_get()
                except BaseException:
                    _gate.give_back(thread)
                    raise
                finally:
                    taking.discard(thread)
                takers[id(record)] = thread  # another may return it
                return record

            def _do_return_conn(self, record: Any) -> None:
                thread = takers.pop(id(record))
                try:
                    super()._do_return_conn(record)
                finally:
                    _gate.give_back(thread)

        return ForkSafePool

    def guard(self, engine: Engine) -> Engine:
        """The engine, which keeps this object alive from now on."""
        self._engine = engine
        engine.events_fork_safety = self  # type: ignore[attr-defined]
        return engine

    def before(self) -> None:
        if self._alone and self._engine is not None:
            self._engine.dispose()  # closes those that nobody uses

    def after_in_child(self) -> None:
        if self._engine is not None:
            self._engine.dispose(close=False)


_gate = _Gate()
_all: WeakSet[ForkSafety] = WeakSet()


def _before() -> None:
    _gate.close()
    for safety in list(_all):
        safety.before()


def _after_in_child() -> None:
    _gate.begin_anew()
    for safety in list(_all):
        safety.after_in_child()


@functools.cache
def _watch_forks() -> None:
    """Register the steps, once in a process, when it makes its first engine."""
    os.register_at_fork(before=_before, after_in_parent=_gate.open, after_in_child=_after_in_child)
