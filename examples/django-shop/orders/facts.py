"""What happens in the shop."""

from events import DomainEvent


class OrderPlaced(DomainEvent, aggregate_id="order"):
    order: int
    article: str
    pieces: int


class StockReserved(DomainEvent, aggregate_id="order"):
    order: int
