"""What follows. Each handler is a transaction: what it writes by the ORM is committed once, with its outcome."""

from django.db.models import F

from events import Retry, handles, publish, seconds
from orders.facts import OrderPlaced, StockReserved
from orders.models import Invoice, Stock


@handles(OrderPlaced, retry=Retry(max_attempts=5, backoff=seconds(1)))
def reserve_stock(event: OrderPlaced) -> None:
    stock, _ = Stock.objects.get_or_create(article=event.article)
    Stock.objects.filter(pk=stock.pk).update(pieces=F("pieces") - event.pieces)
    publish(StockReserved(order=event.order))


@handles(StockReserved)
def write_invoice(event: StockReserved) -> None:
    Invoice.objects.create(order_id=event.order)
