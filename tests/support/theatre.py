"""A theatre's application: what it publishes and takes in, its handlers, and bridges that it may have."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, computed_field

from events import DomainEvent, IntegrationEvent, handles, translates
from events.contract.routes import Route, routes_of
from events.handling.registry import handler_named
from events.settings.settings import Settings


class Currency(Enum):
    EUR = "EUR"


class Price(BaseModel):
    amount: Decimal
    currency: Currency = Currency.EUR


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"


class Unknown:
    pass


class Part(BaseModel):
    parts: list["Part"] = []


class TicketSold(DomainEvent, aggregate_id="seat", masked=("phone", "payment.number")):
    """Known here alone."""

    seat: str
    phone: str = ""
    payment: Card = Card(number="4111")


class TicketSoldV1(IntegrationEvent, name="theatre.ticket-sold.v1", aggregate_id="seat", version=3, masked="guest"):
    """A seat is taken.

    What is said here is not for others.
    """

    seat: str = Field(description='As on the "ticket", größer')
    guest: str = "nobody"
    price: Price = Price(amount=Decimal("12.50"))
    payment: Annotated[Card | Cash, Field(discriminator="kind")] = Cash()
    row: tuple[int, str] = (1, "a")
    day: date | None = None
    stage: Part = Part()

    @computed_field
    @property
    def label(self) -> str:
        return f"{self.seat}!"


class SeatBroken(IntegrationEvent, name="house/seat broken"):
    seat: str


@translates(TicketSold)
def tell_the_theatre(event: TicketSold) -> Iterator[TicketSoldV1]:
    yield TicketSoldV1(seat=event.seat)


class SeatClosed(DomainEvent):
    seat: str


class ShowCancelled(IntegrationEvent, name="theatre.show-cancelled.v1"):
    show: str


@translates(SeatBroken)
def close_seat(event: SeatBroken) -> SeatClosed:
    return SeatClosed(seat=event.seat)


@translates(TicketSoldV1)
def believe_the_theatre(event: TicketSoldV1) -> TicketSold:
    return TicketSold(seat=event.seat)


@handles(TicketSold)
def count_tickets(event: TicketSold) -> None: ...


@handles(ShowCancelled, TicketSoldV1)
def refund(event: DomainEvent) -> None: ...


EVENTS = [TicketSoldV1, SeatBroken]
HANDLERS = [handler_named(name) for name in ("tell_the_theatre", "close_seat", "count_tickets")]
REDIS = "redis+streams://cache:6379/0?direction=both"


def routes(*urls: str) -> list[Route]:
    return routes_of(Settings(broker_url="", bridges=urls))


BRIDGES = routes(
    REDIS,
    "rabbitmqs+topic://mq:5671?exchange=shop&name=rabbit",
    "nats://n:4222?format=structured",
    "kafka://k:9092?forward=TicketSold",
)
