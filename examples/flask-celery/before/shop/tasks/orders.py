"""An order, from its placing to its parcel: ten tasks."""

from typing import Any

from celery import shared_task

from shop.models import Line, Order, Product, db


class Declined(Exception):
    """The bank doesn't pay."""


@shared_task
def check_order(order: int) -> int:
    return len(db.session.get_one(Order, order).lines)


@shared_task
def reserve_stock(order: int) -> int:
    for line in db.session.get_one(Order, order).lines:
        db.session.get_one(Product, line.product, with_for_update=True).stock -= line.quantity
    db.session.commit()
    return order


@shared_task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=True, retry_jitter=False, max_retries=3)
def charge_card(self: Any, order: int, card: str) -> int:
    """The bank's line is bad: it needs a third attempt."""
    if self.request.retries < 2:
        raise ConnectionError("the bank doesn't answer")
    if card == "bad":
        raise Declined(card)
    return db.session.get_one(Order, order).total


@shared_task
def mark_paid(amount: int, order: int) -> int:
    db.session.get_one(Order, order).state = "paid"
    db.session.commit()
    return amount


@shared_task(acks_late=True)
def pack_line(line: int) -> str:
    packed = db.session.get_one(Line, line)
    packed.is_packed = True
    db.session.commit()
    return f"{packed.quantity} {packed.product}"


@shared_task
def ship_order(packed: list[str], order: int) -> str:
    db.session.get_one(Order, order).state = "shipped"
    db.session.commit()
    return ", ".join(sorted(packed))


@shared_task
def cancel_order(order: int) -> str:
    db.session.get_one(Order, order).state = "cancelled"
    db.session.commit()
    release_stock.delay(order)
    return "cancelled"


@shared_task
def release_stock(order: int) -> int:
    return sum(line.quantity for line in db.session.get_one(Order, order).lines)


@shared_task
def order_failed(request: Any, error: Exception, trace: Any, order: int) -> None:
    """An errback: Celery calls it where a task of the chain has failed."""
    db.session.get_one(Order, order).state = f"failed: {type(error).__name__} in {request.task}"
    db.session.commit()


@shared_task(bind=True)
def refund(self: Any, order: int) -> str:
    """Asks the bank twice."""
    if self.request.retries == 0:
        raise self.retry(countdown=1)
    db.session.get_one(Order, order).state = "refunded"
    db.session.commit()
    return f"refunded {order} at the attempt of number {self.request.retries + 1}"
