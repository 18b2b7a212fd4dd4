"""The application before a deployment."""

from common import done
from sqlalchemy import Connection

from events import Delivery, DomainEvent, handles


class Grew(DomainEvent, version=1):
    """Gets a required field and a new version."""

    name: str


class GrewQuietly(DomainEvent):
    """Gets a required field, and nobody thinks of the version."""

    name: str


class Stayed(DomainEvent):
    """Gets another handler, and loses one."""


@handles(Grew)
def on_grew(event: Grew, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "old")


@handles(GrewQuietly)
def on_grew_quietly(event: GrewQuietly, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "old")


@handles(Stayed)
def removed(event: Stayed, connection: Connection, delivery: Delivery) -> None:
    done(connection, delivery, "old")
