"""The application after it."""

from common import done
from sqlalchemy import Connection

from events import Delivery, DomainEvent, handles


class Grew(DomainEvent, version=2):
    name: str
    colour: str


class GrewQuietly(DomainEvent):
    name: str
    colour: str


class Stayed(DomainEvent):
    pass


class Arrived(DomainEvent):
    pass


@handles(Grew)
def on_grew(event: Grew, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "new")


@handles(GrewQuietly)
def on_grew_quietly(event: GrewQuietly, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "new")


@handles(Stayed)
def added(event: Stayed, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "new")


@handles(Arrived)
def on_arrived(event: Arrived, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "new")
