"""Mail, in a queue of its own: five tasks."""

from typing import Any

from celery import shared_task

from shop.models import Mail, Order, db


class NoSuchAddress(Exception):
    pass


@shared_task(rate_limit="1000/s")
def send_mail(to: str, subject: str) -> str:
    db.session.add(Mail(to=to, subject=subject))
    db.session.commit()
    return to


@shared_task
def shipping_note(parcel: str, order: int) -> str:
    customer = db.session.get_one(Order, order).customer
    send_mail.delay(customer, f"on its way: {parcel}")
    return parcel


@shared_task(ignore_result=True)
def remind(order: int) -> None:
    db.session.add(Mail(to="clerk", subject=f"look at order {order}"))
    db.session.commit()


@shared_task
def newsletter(addresses: list[str]) -> int:
    send_mail.chunks([(one, "news") for one in addresses if "@" in one], 2).apply_async(queue="mail")
    for one in addresses:
        if "@" not in one:
            bounce.delay(one)
    return len(addresses)


@shared_task(throws=(NoSuchAddress,))
def bounce(address: str) -> Any:
    raise NoSuchAddress(address)
