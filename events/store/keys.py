"""Many deliveries in one statement: their keys as a small table that the statement joins."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Connection, FromClause, Text, Uuid, and_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from events.records import State, Wakeup
from events.store.tables import event_deliveries, in_state
from events.store.types import Id

Key = tuple[UUID, str, int]  # event id, handler, and a number of the caller's
_DELIVERY = event_deliveries.c


def key_table(connection: Connection, keys: Iterable[Key]) -> FromClause:
    """`keys` as a table with the columns event_id, handler and number."""
    rows = list(keys)
    if connection.dialect.name == "sqlite":
        text = json.dumps([(str(event_id), handler, number) for event_id, handler, number in rows])
        value = func.json_each(bindparam("keys", text, unique=True)).table_valued("value").c.value
        parts: tuple[tuple[str, Any], ...] = (("event_id", Id), ("handler", Text), ("number", BigInteger))
        return select(
            *(
                func.json_extract(value, f"$[{index}]", type_=kind).label(name)
                for index, (name, kind) in enumerate(parts)
            )
        ).subquery("keys")
    kinds: tuple[Any, ...] = (Uuid(), Text(), BigInteger())
    columns = [
        bindparam("column", [row[index] for row in rows], ARRAY(kind), unique=True) for index, kind in enumerate(kinds)
    ]
    return func.unnest(*columns).table_valued("event_id", "handler", "number", name="keys").render_derived()


def is_key(keys: FromClause) -> ColumnElement[bool]:
    """The delivery is that of the key."""
    return and_(_DELIVERY.event_id == keys.c.event_id, _DELIVERY.handler == keys.c.handler)


def not_started(connection: Connection, wakeups: Iterable[Wakeup]) -> ColumnElement[bool]:
    """Sent, and still before the attempt that each wake-up is for."""
    keys = key_table(connection, [(one.event_id, one.handler, one.attempt - 1) for one in wakeups])
    return and_(is_key(keys), in_state(State.SENT), _DELIVERY.attempts == keys.c.number)
