"""A handler that may fail never, and the words to run it while things go wrong."""

from collections.abc import Callable

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, select, update
from sqlalchemy.exc import DBAPIError

from events import DomainEvent, Retry, get_engine, handles
from events.store.tables import event_deliveries
from events.testing import InlinePipeline
from support.waiting import eventually

tables = MetaData()
effects = Table("outage_effects", tables, Column("event", String(50)))

do: dict[str, Callable[[Connection], object]] = {}  # what the handler does for an event of that name, when it runs
runs: list[str] = []


class Wanted(DomainEvent):
    name: str


@handles(Wanted, retry=Retry(max_attempts=1))
def writes_once(event: Wanted, connection: Connection) -> None:
    runs.append(event.name)
    if event.name in do:
        do[event.name](connection)
    connection.execute(insert(effects).values(event=event.name))


def run_until_settled(pipeline: InlinePipeline, *, hurry: bool = False) -> list[str]:
    """As a worker and a relay would, which outlive it; the states in the end."""

    def states() -> list[str]:
        try:
            if hurry:  # past the pauses
                with get_engine().begin() as connection:
                    waits = event_deliveries.c.state == "pending"
                    connection.execute(
                        update(event_deliveries).where(waits).values(due_at=event_deliveries.c.created_at)
                    )
            pipeline.run()
            with get_engine().connect() as connection:
                found = list(connection.scalars(select(event_deliveries.c.state)))
        except DBAPIError:  # the relay's own round
            return []
        return found if found and set(found) <= {"succeeded", "dead"} else []

    return list(eventually(states, "all deliveries have an outcome"))


def counted() -> list[int]:
    with get_engine().connect() as connection:
        delivery = event_deliveries.c
        return list(connection.scalars(select(delivery.attempts - delivery.attempts_before)))


def written() -> list[str]:
    with get_engine().connect() as connection:
        return sorted(connection.scalars(select(effects.c.event)))
