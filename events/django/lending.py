"""Handlers with the ORM: while a handler runs, `connections[alias]` of its thread is in the delivery's transaction."""

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Any

from django.db import close_old_connections, connections
from django.db.backends.signals import connection_created
from sqlalchemy import Connection, Engine, event

from events.django.configuration import ledger_alias
from events.django.home import HomeConnection
from events.django.wrappers import KEY, Lent, lent_connection, new_wrapper
from events.errors import HandlerError
from events.publishing import running
from events.store import WatchedSqlite

log = logging.getLogger("events.delivery")


class DjangoHost:
    """Keeps the contract of events.delivery's Host."""

    def join(self, connection: Connection, handler: str, secure: Callable[[], None]) -> "DjangoGuest":
        return DjangoGuest(connection, ledger_alias(), handler, secure)


class DjangoGuest:
    """One call of a handler. Keeps the contract of events.delivery.Guest."""

    def __init__(self, connection: Connection, alias: str, handler: str, secure: Callable[[], None]) -> None:
        self._alias = alias
        self._handler = handler
        self._before = connections[alias]
        lent = connection.info.get(KEY)
        self._is_at_home = lent is None
        if lent is None:
            raw: Any = connection.connection.driver_connection
            lent = lent_connection(raw.raw if isinstance(raw, HomeConnection) else raw, self._before)
        self._wrapper = new_wrapper(self._before)
        self._wrapper.lend(lent, handler, secure)
        connections[alias] = self._wrapper

    def finish(self) -> None:
        if self._wrapper.needs_rollback:
            raise HandlerError(
                f"handler {self._handler!r} returned with the delivery's transaction marked for rollback, by an error "
                f"in an atomic(savepoint=False) that it caught, or by set_rollback(True); catch errors outside of an "
                f"atomic() with a savepoint, or let them be raised"
            ) from self._wrapper.rollback_exc
        if self._wrapper.savepoint_ids:
            raise HandlerError(f"handler {self._handler!r} returned within an atomic() block that it has not left")

    def leave(self) -> None:
        connections[self._alias] = self._before
        self._wrapper.give_back()

    def over(self, *, committed: bool) -> None:
        if committed:
            for _, hook, _ in self._wrapper.run_on_commit:
                try:
                    hook()
                except Exception:
                    log.exception("an on_commit() hook failed after a delivery of %s had ended", self._handler)
        if not self._is_at_home:
            close_old_connections()


def lend_connections_of(engine: Engine, alias: str) -> None:
    """Let the connections that this engine opens from now on be as Django would have made them, and lend them."""

    def connect(_: Any, __: Any, ___: Any, given: dict[str, Any]) -> Any:
        wrapper = new_wrapper(connections[alias])
        return wrapper.get_new_connection(wrapper.get_connection_params() | {"factory": given["factory"]})

    def set_up(driver: Any, record: Any) -> None:
        original = connections[alias]
        wrapper, lent = new_wrapper(original), lent_connection(driver, original)
        record.info[KEY] = lent
        before = getattr(driver, "autocommit", None)
        if not isinstance(driver, WatchedSqlite):
            driver.autocommit = True
        lent.__dict__["autocommit"] = True
        wrapper.connection, wrapper.autocommit, wrapper.before = lent, True, lambda: None
        wrapper.init_connection_state()
        base = type(original)
        sender = base.__mro__[2] if issubclass(base, Lent) else base
        connection_created.send(sender=sender, connection=wrapper)
        lent.__dict__["autocommit"] = False
        if not isinstance(driver, WatchedSqlite):
            driver.autocommit = before

    _leave_at_forks()
    if engine.dialect.name == "sqlite":
        event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", set_up)


@cache
def _leave_at_forks() -> None:
    """Let children of a worker begin without the connections that Django has in the parent. They are not closed: that
    would end them for the parent, too."""
    kept: list[Any] = []

    def leave() -> None:
        for wrapper in connections.all(initialized_only=True):
            kept.append(wrapper)
            del connections[wrapper.alias]

    os.register_at_fork(after_in_child=leave)


def watch_others(connection: Any, **_: Any) -> None:
    """Let a connection of Django's own refuse statements of a handler: they would be outside of its delivery's
    transaction. For Django's signal `connection_created`."""
    if isinstance(connection, Lent) or connection.alias != ledger_alias():
        return
    if _refuse not in connection.execute_wrappers:
        connection.execute_wrappers.append(_refuse)


def _refuse(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
    if running.get() is not None and not isinstance(context["connection"], Lent):
        context["connection"].close()  # it was opened for this, and the thread may end without
        raise HandlerError(
            "a handler used Django's ORM in another thread than its own (`async def`, sync_to_async or to_thread), "
            "where it is outside of the delivery's transaction, and would happen again with each attempt; make the "
            "handler a plain `def`, which may call async code by async_to_sync, or do it in a new context "
            "(contextvars.Context().run) if that is meant"
        )
    return execute(sql, params, many, context)
