"""Events that wait for a handler, and perhaps forever. Keeps the contract of events.ledger.Unhandled."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from functools import partial

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, exists, func, select

from events.ledger import UnhandledType
from events.store.arrivals import IN_LINE
from events.store.database.engine import look, now_plus
from events.store.operating.conflicts import in_turn
from events.store.schema.postgres_schema import named
from events.store.tables import event_deliveries, event_store, event_subscriptions, is_new

_EVENT, _DELIVERY, _SUBSCRIPTION = event_store.c, event_deliveries.c, event_subscriptions.c


class SqlUnhandled:
    """New events of types without a subscription."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def types(self) -> list[UnhandledType]:
        query = (  # an index alone answers this query
            select(_EVENT.event_type, func.count().label("count"), func.min(_EVENT.timestamp).label("oldest"))
            .where(_waits_in_vain())
            .group_by(_EVENT.event_type)
            .order_by(func.count().desc(), _EVENT.event_type)
        )
        with look(self._engine) as connection:
            return [UnhandledType(**row._mapping) for row in connection.execute(query)]

    def count(self, event_types: Collection[str], older_than: timedelta) -> int:
        with look(self._engine) as connection:
            before = now_plus(connection, -older_than)
            these = and_(_waits_in_vain(), _EVENT.event_type.in_(list(event_types)), _EVENT.created_at < before)
            return connection.scalar(select(func.count()).select_from(event_store).where(these)) or 0

    def drop(self, event_types: Collection[str], older_than: timedelta, batch: int) -> Iterator[int]:
        with look(self._engine) as connection:
            before = connection.execute(select(now_plus(connection, -older_than))).scalar_one()
        for event_type in event_types:
            these = and_(_waits_in_vain(), _EVENT.event_type == event_type, _EVENT.created_at < before)
            while count := in_turn(self._engine, partial(_drop, these, batch)):
                yield count


def _waits_in_vain() -> ColumnElement[bool]:
    wanted = exists().where(_SUBSCRIPTION.event_type == _EVENT.event_type)
    return and_(is_new, ~wanted)


def _drop(these: ColumnElement[bool], batch: int, connection: Connection) -> int:
    """Delete the next events, and return their number.

    No handler can subscribe meanwhile: a handler that subscribed before gets the events, a handler that subscribes
    later does not.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
        connection.exec_driver_sql(f"LOCK TABLE {named(event_subscriptions.name)} IN SHARE MODE")
    oldest = select(_EVENT.id).where(these).order_by(*IN_LINE).limit(batch)
    ids = list(connection.scalars(oldest.with_for_update(skip_locked=True, of=event_store)))
    if not ids:
        return 0
    fanned_out = exists().where(_DELIVERY.event_id == _EVENT.id)
    return connection.execute(delete(event_store).where(_EVENT.id.in_(ids), these, ~fanned_out)).rowcount
