"""The Session that a handler gets. It lives in the delivery's transaction, which is committed after the handler has
returned, together with the outcome. An application's hooks that wait for a commit are called after that one.

The session's own commit() only releases a savepoint. SQLAlchemy calls the hooks `after_commit` and
`after_transaction_end` then; this module keeps them, and calls them once, when it is known how the transaction ended.
"""

import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, event
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from events.errors import HandlerError

log = logging.getLogger("events.delivery")

_OURS = __name__.partition(".")[0] + "."
_WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH")


class HandlerSession(Session):
    """A session in a savepoint of the delivery's transaction: commit() releases it, and rollback() goes back to it."""

    def __init__(self, connection: Connection, handler: str) -> None:
        super().__init__(connection, join_transaction_mode="create_savepoint")
        # These are set again, since the application's subclass may have changed the arguments.
        self.bind, self.join_transaction_mode, self._handler = connection, "create_savepoint", handler
        self._ended = False
        self._committed = False  # whether the session's own commit() succeeded; that of the delivery may still fail
        self._changed = False  # whether something was changed in the present transaction
        self._dropped = False  # whether close() dropped such a change
        self._before: dict[SessionTransaction, bool] = {}  # by savepoint: the value of _changed when it began
        self._ends: list[Any] = []  # the session's transactions that have ended
        dispatch: Any = self.dispatch
        for name, keep in (("after_commit", self._keep_commit), ("after_transaction_end", self._keep_end)):
            setattr(dispatch, name, _Kept(name, getattr(dispatch, name), keep))

    def get_bind(self, *_: Any, bind: Engine | Connection | None = None, **__: Any) -> Engine | Connection:
        """The delivery's connection, for every statement: a statement elsewhere would be committed by itself.

        Raises:
            HandlerError: the delivery has ended, or the statement is meant for another database.
        """
        if self._ended:
            raise HandlerError(
                f"this Session belongs to a delivery of handler {self._handler!r} that has ended; a task that goes on "
                f"after the handler needs a session of its own"
            )
        if bind is not None and bind is not self.bind:
            raise HandlerError(
                f"the Session of handler {self._handler!r} is in the delivery's transaction, and takes no other bind=; "
                f"for another database use a session of your own"
            )
        assert isinstance(self.bind, Connection)
        return self.bind

    def connection(self, bind_arguments: Any = None, execution_options: Any = None) -> Connection:
        self.see((bind_arguments or {}).get("clause"))
        return super().connection(bind_arguments, execution_options)

    def see(self, statement: Any) -> None:
        """Note a statement that is about to be executed, by the handler or by publish()."""
        self._changed = self._changed or _may_change(statement)

    def flush(self, *arguments: Any, **options: Any) -> None:
        self._changed = self._changed or self._has_changes()
        super().flush(*arguments, **options)

    def close(self) -> None:
        self._dropped = self._dropped or (not self._ended and (self._changed or self._has_changes()))
        super().close()

    def finish(self) -> None:
        """The handler has returned: flush, as a commit does. Loaded objects stay loaded, for hooks after the commit.

        Raises:
            HandlerError: the handler closed its session with changes that it had not committed.
        """
        if self._dropped:
            raise HandlerError(
                f"handler {self._handler!r} closed its Session (close(), or the end of `with session:`) with changes "
                f"that it had not committed, so they are undone. Leave the session open: its changes are committed "
                f"when the handler returns; or call commit() or rollback() before"
            )
        before, self.expire_on_commit = self.expire_on_commit, False
        try:
            self.commit()
        finally:
            self.expire_on_commit = before
        self._ended = True

    def over(self, *, committed: bool) -> None:
        """The delivery's transaction has ended: call the hooks. A hook that fails is logged, and changes nothing."""
        self._ended = True
        dispatch: Any = self.dispatch
        if self._committed:
            if committed:
                self._call(dispatch.after_commit.later(), self)
            else:
                self._call(dispatch.after_rollback, self)
        for transaction in self._ends:
            self._call(dispatch.after_transaction_end.later(), self, transaction)
        self._ends.clear()
        self.expunge_all()

    def _keep_commit(self, _: Session) -> None:
        self._committed = True

    def _has_changes(self) -> bool:
        return bool(self.new or self.deleted or self.dirty)

    def _keep_end(self, _: Session, transaction: Any) -> None:
        if transaction.parent is None:
            self._changed = False
            self._before.clear()
            self._ends.append(transaction)
        else:  # the transaction is a savepoint of begin_nested()
            dispatch: Any = self.dispatch
            for hook in dispatch.after_transaction_end.later():
                hook(self, transaction)

    def _call(self, hooks: Any, *arguments: Any) -> None:
        for hook in hooks:
            try:
                hook(*arguments)
            except Exception:
                log.exception("a session's hook failed after a delivery of %s had ended", self._handler)


@event.listens_for(HandlerSession, "do_orm_execute")
def _see(state: ORMExecuteState) -> None:
    assert isinstance(state.session, HandlerSession)
    state.session.see(state.statement)


@event.listens_for(HandlerSession, "after_transaction_create")
def _begun(session: HandlerSession, transaction: SessionTransaction) -> None:
    if transaction.nested:
        session._before[transaction] = session._changed


@event.listens_for(HandlerSession, "after_soft_rollback")
def _undone(session: HandlerSession, transaction: SessionTransaction) -> None:
    session._changed = session._before.get(transaction, session._changed)


@cache
def handler_session(kind: type[Session]) -> type[HandlerSession]:
    """The class of a handler's session: a subclass of the application's class, too, if the handler asks for that."""
    if kind is Session:
        return HandlerSession
    return type(kind.__name__, (HandlerSession, kind), {"__module__": __name__})


class _Kept:
    """Stands in for the listeners of one event. It calls `keep` instead of the application's listeners, which wait for
    `later`; our own listeners are called at once."""

    def __init__(self, name: str, listeners: Any, keep: Any) -> None:
        self._name = name
        self._listeners = listeners
        self._keep = keep

    def __call__(self, *arguments: Any) -> None:
        for listener in self._listeners:
            if _is_ours(listener):
                listener(*arguments)
        self._keep(*arguments)

    def later(self) -> Iterator[Any]:
        """The application's listeners."""
        return (listener for listener in self._listeners if not _is_ours(listener))

    def for_modify(self, dispatch: Any) -> Any:
        """The listeners in a form that can be changed: SQLAlchemy adds a listener to this very session."""
        setattr(dispatch, self._name, self._listeners)
        self._listeners = self._listeners.for_modify(dispatch)
        setattr(dispatch, self._name, self)
        return self._listeners

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listeners, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._listeners)

    def __bool__(self) -> bool:
        return True


def _may_change(statement: Any) -> bool:
    if isinstance(statement, TextClause):
        return statement.text.lstrip(" \n\t(").upper().startswith(_WRITES)
    return bool(getattr(statement, "is_dml", False))


def _is_ours(listener: Any) -> bool:
    return str(getattr(listener, "__module__", "")).startswith(_OURS)
