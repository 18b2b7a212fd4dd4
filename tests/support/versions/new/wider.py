"""The application after it."""

from common import done
from sqlalchemy import Connection

from events import Delivery, DomainEvent, handles


class Stayed(DomainEvent):
    pass


class Arrived(DomainEvent):
    pass


@handles(Stayed, Arrived)
def widens(event: Stayed | Arrived, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "new")
