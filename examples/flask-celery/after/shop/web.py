"""What the shop's customers and clerks ask for."""

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import chain, chord, group
from celery.result import AsyncResult
from flask import Blueprint, request

from handlers import order_placed
from shop.models import Line, Order, Product, db
from shop.tasks import mail, orders, reports, stock, upkeep

web = Blueprint("web", __name__)


@web.post("/products")
def add_products() -> Any:
    done = group(stock.add_product.s(**row) for row in request.json) | stock.all_added.s()
    return {"task": done.delay().id}


@web.post("/orders")
def place_order() -> Any:
    order = Order(customer=request.json["customer"])
    for name, quantity in request.json["lines"].items():
        order.lines.append(Line(product=name, quantity=quantity, price=db.get_or_404(Product, name).price))
    db.session.add(order)
    db.session.flush()
    order_placed(order)
    lines = [line.id for line in order.lines]
    db.session.commit()
    if request.json.get("hold"):
        when = datetime.now(UTC) + timedelta(seconds=2)
        return {"order": order.id, "task": orders.cancel_order.apply_async((order.id,), eta=when).id}
    work = chain(
        orders.check_order.si(order.id),
        orders.reserve_stock.si(order.id),
        orders.charge_card.si(order.id, request.json.get("card", "good")),
        orders.mark_paid.s(order.id),
        chord([orders.pack_line.si(line) for line in lines], orders.ship_order.s(order.id)),
        mail.shipping_note.s(order.id),
    )
    sent = work.apply_async(link_error=orders.order_failed.s(order.id))
    mail.remind.apply_async((order.id,), countdown=1)
    return {"order": order.id, "task": sent.id}


@web.get("/orders/<int:number>")
def show_order(number: int) -> Any:
    order = db.get_or_404(Order, number)
    return {"customer": order.customer, "state": order.state, "total": order.total}


@web.get("/orders/<int:number>/price")
def price_order(number: int) -> Any:
    lines = db.get_or_404(Order, number).lines
    prices = chord([stock.price_of.s(line.product, line.quantity) for line in lines], stock.sum_prices.s())
    return {"price": prices.delay().get(timeout=120)}


@web.post("/orders/<int:number>/refund")
def refund_order(number: int) -> Any:
    return {"task": orders.refund.apply_async((number,), link=mail.send_mail.si("clerk", f"refund {number}")).id}


@web.post("/newsletter")
def send_newsletter() -> Any:
    return {"task": mail.newsletter.delay(request.json).id}


@web.post("/reports")
def make_report() -> Any:
    return {"task": reports.build_report.apply_async(priority=3).id}


@web.post("/exports")
def export() -> Any:
    return {"task": reports.export.delay(request.json["name"]).id}


@web.post("/audits")
def audit() -> Any:
    ping = upkeep.ping.apply_async(queue="reports", headers={"from": "web"}, priority=5)
    return {"tasks": [upkeep.audit.delay().id, upkeep.forget_carts.apply_async(expires=600).id, ping.id]}


@web.get("/tasks/<key>")
def show_task(key: str) -> Any:
    found = AsyncResult(key)
    return {"state": found.state, "result": found.result if found.state == "SUCCESS" else str(found.result)}
