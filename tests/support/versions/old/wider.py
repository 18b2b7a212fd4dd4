"""The application before a handler takes an event more, and another handler goes."""

from common import done
from sqlalchemy import Connection

from events import Delivery, DomainEvent, handles


class Stayed(DomainEvent):
    pass


@handles(Stayed)
def widens(event: Stayed, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "old")


@handles(Stayed)
def goes(event: Stayed, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "old")
