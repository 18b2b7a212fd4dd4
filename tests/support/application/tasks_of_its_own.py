"""Handlers beside plain Celery tasks: shared ones, and those of the application's own app, if it has one."""

import os
from pathlib import Path

from celery import Celery, group, shared_task

from events import DomainEvent, Retry, handles


def noted(line: str) -> str:
    with Path(os.environ["SHOP_STARTS"]).open("a") as file:
        file.write(f"{line}\n")
    return line


if broker := os.environ.get("SHOP_BROKER_URL"):
    app = Celery("shop", broker=None if broker == "none" else broker)
    app.conf.task_default_queue = os.environ["SHOP_QUEUE"]

    @app.task(name="shop.pack")
    def pack(what: str) -> str:
        return noted(f"packed {what}")


class OrderTaken(DomainEvent):
    """`how` the handler uses the task."""

    how: str


@shared_task(name="shop.mail")
def mail(to: str) -> str:
    noted(f"mailed {to}")
    return to


@handles(OrderTaken, retry=Retry(max_attempts=1))
def on_order(event: OrderTaken) -> None:
    match event.how:
        case "call":
            mail("ann")
        case "delay":
            mail.delay("ann")
        case "apply_async":
            mail.apply_async(("ann",), countdown=1)
        case "signature":
            mail.si("ann").delay()
        case "group":
            group(mail.s("ann"), mail.s("bob"))()
        case "chunks":
            mail.chunks([("ann",), ("bob",)], 1)()
        case "delay and fail":
            mail.delay("nobody")
            raise LookupError("no such order")
        case "pack":
            pack.delay("a box")


@handles(OrderTaken, retry=Retry(max_attempts=1))
async def on_order_async(event: OrderTaken) -> None:
    if event.how == "delay":
        mail.delay("async ann")
