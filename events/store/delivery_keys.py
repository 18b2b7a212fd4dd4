"""The keys of many deliveries as a small table that a statement joins, so that one statement changes all of them."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY

from events.ledger import State, Wakeup
from events.store.conditions import is_of_state
from events.store.database.types import Id
from events.store.tables import event_deliveries

Key = tuple[UUID, str, int]  # the meaning of the number is up to the caller
_DELIVERY = event_deliveries.c
_NAMES = ("event_id", "handler", "number")


def key_table(dialect: str, *, one: bool = False) -> FromClause:
    """A table with the columns event_id, handler and number; its rows are the parameters that `key_values` makes.

    Args:
        one: of a single row. PostgreSQL takes any other for ten rows, for which it would rather read all of a table
            that was small at the last ANALYZE.
    """
    if dialect == "sqlite":
        value = func.json_each(bindparam("keys", type_=Text)).table_valued("value").c.value
        kinds: dict[str, Any] = {"event_id": Id, "handler": Text(), "number": BigInteger()}
        places = [(f"$[{place}]", name) for place, name in enumerate(_NAMES)]
        return select(
            *(func.json_extract(value, path, type_=kinds[name]).label(name) for path, name in places)
        ).subquery("keys")
    kinds = {"event_id": Uuid(), "handler": Text(), "number": BigInteger()}
    if one:
        return select(*(bindparam(f"key_{name}", type_=kinds[name]).label(name) for name in _NAMES)).subquery("keys")
    arrays = [bindparam(f"keys_{name}", type_=ARRAY[Any](kinds[name])) for name in _NAMES]
    return func.unnest(*arrays).table_valued(*_NAMES, name="keys").render_derived()


def key_values(dialect: str, keys: Iterable[Key], *, one: bool = False) -> dict[str, Any]:
    """Return the parameters of a statement with a `key_table`."""
    rows = list(keys)
    if dialect == "sqlite":
        return {"keys": json.dumps([(str(event_id), handler, number) for event_id, handler, number in rows])}
    if one:
        return {f"key_{name}": value for name, value in zip(_NAMES, rows[0], strict=True)}
    return {f"keys_{name}": [row[index] for row in rows] for index, name in enumerate(_NAMES)}


def is_key(keys: FromClause) -> ColumnElement[bool]:
    """Whether the delivery is the delivery of the key."""
    return and_(_DELIVERY.event_id == keys.c.event_id, _DELIVERY.handler == keys.c.handler)


def locked(connection: Connection, which: "Select[Any]") -> dict[str, Any]:
    """Lock the deliveries that this query finds, and return the parameters of a statement about them.

    The query has the columns event_id and handler. It is run by itself, since PostgreSQL may run it more than once,
    with its limit, if it is part of another statement.
    """
    return key_values(
        connection.dialect.name, [(event_id, handler, 0) for event_id, handler in connection.execute(which)]
    )


def unlocked(which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Narrow the condition to deliveries that no other transaction has locked.

    For work that a thread repeats, and in which it must not wait: the lock may belong to a process that is stopped, or
    to a machine that vanished.
    """
    keys = select(_DELIVERY.event_id, _DELIVERY.handler).where(which).correlate(None)
    free = keys.with_for_update(skip_locked=True, of=event_deliveries)
    return tuple_(_DELIVERY.event_id, _DELIVERY.handler).in_(free)


def not_started(dialect: str) -> ColumnElement[bool]:
    """The delivery is sent, and no attempt has the token of its wake-up yet; `wakeup_values` gives the wake-ups."""
    keys = key_table(dialect)
    return and_(is_key(keys), is_of_state(State.SENT), _DELIVERY.attempts == keys.c.number)


def wakeup_values(dialect: str, wakeups: Iterable[Wakeup]) -> dict[str, Any]:
    """Return the parameters of a statement about deliveries that are `not_started`."""
    return key_values(dialect, [(wakeup.event_id, wakeup.handler, wakeup.token - 1) for wakeup in wakeups])
