"""Many deliveries in one statement: their keys as a small table that the statement joins."""

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
from events.store.database.types import Id
from events.store.tables import event_deliveries, in_state

Key = tuple[UUID, str, int]  # event id, handler, and a number of the caller's
_DELIVERY = event_deliveries.c
_NAMES = ("event_id", "handler", "number")


def key_table(dialect: str) -> FromClause:
    """A table with the columns event_id, handler and number; what is in it, `key_values` says."""
    if dialect == "sqlite":
        value = func.json_each(bindparam("keys", type_=Text)).table_valued("value").c.value
        kinds: dict[str, Any] = {"event_id": Id, "handler": Text(), "number": BigInteger()}
        places = [(f"$[{place}]", name) for place, name in enumerate(_NAMES)]
        return select(
            *(func.json_extract(value, path, type_=kinds[name]).label(name) for path, name in places)
        ).subquery("keys")
    kinds = {"event_id": Uuid(), "handler": Text(), "number": BigInteger()}
    arrays = [bindparam(f"keys_{name}", type_=ARRAY[Any](kinds[name])) for name in _NAMES]
    return func.unnest(*arrays).table_valued(*_NAMES, name="keys").render_derived()


def key_values(dialect: str, keys: Iterable[Key]) -> dict[str, Any]:
    """The parameters of a statement with a `key_table`."""
    rows = list(keys)
    if dialect == "sqlite":
        return {"keys": json.dumps([(str(event_id), handler, number) for event_id, handler, number in rows])}
    return {f"keys_{name}": [row[index] for row in rows] for index, name in enumerate(_NAMES)}


def is_key(keys: FromClause) -> ColumnElement[bool]:
    """The delivery is that of the key."""
    return and_(_DELIVERY.event_id == keys.c.event_id, _DELIVERY.handler == keys.c.handler)


def locked(connection: Connection, which: "Select[Any]") -> dict[str, Any]:
    """Lock what this query finds (columns event_id and handler); the parameters of a statement about those deliveries.

    By itself, since within another statement PostgreSQL may run it, with its limit, more than once.
    """
    return key_values(
        connection.dialect.name, [(event_id, handler, 0) for event_id, handler in connection.execute(which)]
    )


def unlocked(which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Of the deliveries of which this is true, those that nobody has locked.

    For what is done again and again, by a thread that must not wait: whoever has the lock may be a process that is
    stopped, or on a machine that vanished.
    """
    found = select(_DELIVERY.event_id, _DELIVERY.handler).where(which).correlate(None)
    return tuple_(_DELIVERY.event_id, _DELIVERY.handler).in_(
        found.with_for_update(skip_locked=True, of=event_deliveries)
    )


def not_started(dialect: str) -> ColumnElement[bool]:
    """Sent, and still before the token that each wake-up names; which, `wakeup_values` says."""
    keys = key_table(dialect)
    return and_(is_key(keys), in_state(State.SENT), _DELIVERY.attempts == keys.c.number)


def wakeup_values(dialect: str, wakeups: Iterable[Wakeup]) -> dict[str, Any]:
    """The parameters of a statement about deliveries that are `not_started`."""
    return key_values(dialect, [(one.event_id, one.handler, one.token - 1) for one in wakeups])
