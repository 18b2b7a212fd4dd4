"""Forks: Celery's prefork pool makes children while the relay's thread uses the database in the parent.

A child must not use its parent's connections: on PostgreSQL it would read the parent's answers. On SQLite it must
not even inherit one: the library keeps locks in memory, and a child forked in a transaction waits for ever.
https://sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_
"""

import functools
import os
import threading
from typing import Any
from weakref import WeakSet

from sqlalchemy import Engine

from events.store.database.pools import LedgerPool

_WAIT_FOR_TRANSACTIONS = 5.0  # seconds; longer only if the forking thread itself is in one


class ForkSafety:
    """Ties an engine to os.fork: children begin without connections; with `alone`, no connection is open at a fork."""

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone
        self._engine: Engine | None = None
        self._reset()
        _all.add(self)
        _watch_forks()

    @property
    def pool_class(self) -> type[LedgerPool]:
        """A pool for an engine that is `alone`: it knows of each connection from before it is opened until it is
        returned.

        The pool's events would come too late: a connection is opened before its checkout event.
        """
        safety, taking = self, threading.local()

        class ForkSafePool(LedgerPool):
            __module__ = LedgerPool.__module__

            def _do_get(self) -> Any:
                if getattr(taking, "now", False):  # SQLAlchemy calls it again when another thread took the place
                    return super()._do_get()
                safety._taken()
                taking.now = True
                try:
                    return super()._do_get()
                except BaseException:
                    safety._returned()
                    raise
                finally:
                    taking.now = False

            def _do_return_conn(self, record: Any) -> None:
                try:
                    super()._do_return_conn(record)
                finally:
                    safety._returned()

        return ForkSafePool

    def guard(self, engine: Engine) -> Engine:
        """The engine, which keeps this object alive from now on."""
        self._engine = engine
        engine.events_fork_safety = self  # type: ignore[attr-defined]
        return engine

    def before(self) -> None:
        if not self._alone or self._engine is None:
            return
        with self._change:
            self._forking = True
            if self._change.wait_for(lambda: self._in_use <= 0, _WAIT_FOR_TRANSACTIONS):
                self._engine.dispose()

    def after_in_parent(self) -> None:
        if self._alone:
            with self._change:
                self._forking = False
                self._change.notify_all()

    def after_in_child(self) -> None:
        self._reset()
        if self._engine is not None:
            self._engine.dispose(close=False)

    def _reset(self) -> None:
        self._change = threading.Condition()
        self._in_use = 0
        self._forking = False

    def _taken(self) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._forking, _WAIT_FOR_TRANSACTIONS)
            self._in_use += 1

    def _returned(self) -> None:
        with self._change:
            self._in_use -= 1
            self._change.notify_all()


_all: WeakSet[ForkSafety] = WeakSet()


def _each(step: str) -> None:
    for safety in list(_all):
        getattr(safety, step)()


@functools.cache
def _watch_forks() -> None:
    """Register the steps, once in a process, when it makes its first engine."""
    os.register_at_fork(
        before=lambda: _each("before"),
        after_in_parent=lambda: _each("after_in_parent"),
        after_in_child=lambda: _each("after_in_child"),
    )
