"""Reports, in a queue of their own: five tasks."""

import time
from typing import Any

from celery import chord, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import func, select

from shop.models import Line, db


@shared_task(bind=True)
def build_report(self: Any) -> Any:
    """Becomes other tasks, whose result is its own."""
    raise self.replace(chord([total.s(), best_seller.s()], render.s()))


@shared_task
def total() -> int:
    return db.session.scalar(select(func.sum(Line.quantity * Line.price))) or 0


@shared_task
def best_seller() -> str | None:
    sold = func.sum(Line.quantity)
    return db.session.scalar(select(Line.product).group_by(Line.product).order_by(sold.desc(), Line.product).limit(1))


@shared_task
def render(parts: list[Any]) -> str:
    return f"sold for {parts[0]}, most of it {parts[1]}"


@shared_task(soft_time_limit=1)
def export(name: str) -> str:
    """Takes too long."""
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return f"{name}: cut short"
    return f"{name}: whole"
