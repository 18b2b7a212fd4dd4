"""New: an event of the order's transaction, and what happens because of it, once."""

from events import DomainEvent, handles, on_migrate, publish
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, Session, mapped_column

from shop.models import Order, db
from shop.tasks import mail


class Points(db.Model):
    """What a customer earned by an order. It takes part in no other table: each row is one run of the handler."""

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey(Order.id))
    points: Mapped[int]


on_migrate(db.metadata.create_all)  # `events migrate` makes the tables


class OrderPlaced(DomainEvent, aggregate_id="order_id"):
    order_id: int
    total: int


def order_placed(order: Order) -> None:
    """Tell of it, if the transaction that places the order commits."""
    publish(OrderPlaced(order_id=order.id, total=order.total), session=db.session)


@handles(OrderPlaced)
def earn_points(event: OrderPlaced, session: Session) -> None:
    session.add(Points(order_id=event.order_id, points=event.total // 10))


@handles(OrderPlaced)
def greet_big_spender(event: OrderPlaced, session: Session) -> None:
    """A handler may send plain tasks."""
    if event.total >= 1000:
        mail.send_mail.delay(session.get_one(Order, event.order_id).customer, "thank you")
