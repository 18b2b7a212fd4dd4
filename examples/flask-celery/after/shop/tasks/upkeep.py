"""What nobody asks for: four tasks."""

from typing import Any

from celery import shared_task

from shop.celery import FlaskTask
from shop.models import Heartbeat, Product, db
from shop.tasks.stock import reorder


@shared_task(ignore_result=True)
def heartbeat() -> None:
    """Beat sends it each second."""
    db.session.add(Heartbeat())
    db.session.commit()


@shared_task
def forget_carts() -> str:
    """Beat sends it each night."""
    return "forgotten"


class Audit(FlaskTask):
    """A class of its own, which tells how it went."""

    def on_success(self, retval: Any, *_: Any) -> None:
        for name in retval:
            reorder.delay(name)


@shared_task(base=Audit, name="audit")
def audit() -> list[str]:
    return [product.name for product in db.session.query(Product).order_by(Product.name) if product.stock < 10]


@shared_task(bind=True)
def ping(self: Any) -> list[Any]:
    return [self.request.headers and self.request.headers.get("from"), self.request.delivery_info["routing_key"]]
