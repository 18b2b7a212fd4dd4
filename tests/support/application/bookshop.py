"""An application of which two things fail at night: a mail server that is down, and an address without a postcode.

The mail server is up while the file `mail-server-is-up` lies beside $SHOP_STARTS.
"""

import os
from pathlib import Path

from events import DomainEvent, Retry, handles, publish, seconds

TWICE = Retry(max_attempts=2, backoff=seconds(0.05), jitter=0)
SWITCH = "mail-server-is-up"


class BooksOrdered(DomainEvent, aggregate_id="order"):
    order: str
    customer: str
    postcode: str = ""
    articles: tuple[str, ...] = ()


class StockReserved(DomainEvent, aggregate_id="order"):
    order: str
    postcode: str


class InvoiceSent(DomainEvent, aggregate_id="order"):
    order: str


class MailServerDown(ConnectionError):
    pass


class AddressIncomplete(ValueError):
    pass


@handles(BooksOrdered)
def reserve_stock(event: BooksOrdered) -> None:
    publish(StockReserved(order=event.order, postcode=event.postcode))


@handles(BooksOrdered, retry=TWICE)
def send_invoice(event: BooksOrdered) -> None:
    deliver(f"invoice of {event.order}", event.customer)
    publish(InvoiceSent(order=event.order))


@handles(StockReserved, retry=Retry(max_attempts=1))
def print_label(event: StockReserved) -> None:
    if not event.postcode:
        raise AddressIncomplete(f"{event.order} has no postcode")


def deliver(letter: str, customer: str) -> None:
    if not Path(os.environ["SHOP_STARTS"]).with_name(SWITCH).exists():
        raise MailServerDown(f"smtp.example.com:25 refused the connection; {letter} to {customer} was not sent")
